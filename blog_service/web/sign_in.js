// The views to sign up, to sign in, and to reset a password.

import { h } from "./dom.js";
import { sentence } from "./error_texts.js";
import { form } from "./forms.js";
import { DISPLAY_NAME_LENGTH_MAX, setProfile } from "./people.js";
import { call, signIn, signUp } from "./session.js";
import { go, notice, takeReturnAddress } from "./shell.js";

const WAITS = 2; // of five seconds each, the longest that the blog allows

const EMAIL = { name: "email", label: "E-mail address", type: "email" };
const PASSWORD = { name: "password", label: "Password", type: "password" };

export function openSignUp() {
  const { element } = form({
    fields: [
      { ...EMAIL, autocomplete: "email" },
      {
        ...PASSWORD,
        autocomplete: "new-password",
        hint: "Length matters more than symbols: a few unrelated words work well.",
      },
      {
        name: "display_name",
        label: "Display name",
        limit: DISPLAY_NAME_LENGTH_MAX,
        oneLine: true,
        optional: true,
        autocomplete: "nickname",
        hint: "Shown next to what you write. You can change it at any time.",
      },
    ],
    submit: "Create account",
    busy: "Creating your account …",
    about: { email_taken: "email", invalid_email: "email", weak_password: "password" },
    async act({ email, password, display_name: name }) {
      const user = await signUp(email, password);
      const signedUpAt = performance.now();
      go(takeReturnAddress(), { replace: true });
      notice("Welcome. Setting up your account …");
      const problem = name && (await saveName(name));
      const isKnown = await isKnownToBlog(user);
      const passed = Math.round(performance.now() - signedUpAt);
      if (isKnown) call("blog", "GET", "/v1/me").then(setProfile, () => {});
      if (problem)
        notice(`Welcome. Your display name is not saved. ${problem} Choose one in your account.`);
      else if (isKnown) notice(`Welcome. The blog received your account ${passed} ms after sign-up.`);
      else notice("Welcome. Your account is still being synced; you can already write.");
    },
  });
  return card(
    "Sign up",
    element,
    h("p", {}, "Already have an account? ", h("a", { href: "/sign-in" }, "Sign in"), "."),
  );
}

export function openSignIn() {
  const { element } = form({
    fields: [
      { ...EMAIL, autocomplete: "username" },
      { ...PASSWORD, autocomplete: "current-password" },
    ],
    submit: "Sign in",
    busy: "Signing in …",
    async act({ email, password }) {
      await signIn(email, password);
      go(takeReturnAddress(), { replace: true });
    },
  });
  return card(
    "Sign in",
    element,
    h("p", {}, "New here? ", h("a", { href: "/sign-up" }, "Sign up"), "."),
    h("p", {}, h("a", { href: "/forgot" }, "Forgot your password?")),
  );
}

export function openForgot() {
  const { element } = form({
    fields: [{ ...EMAIL, autocomplete: "username" }],
    submit: "Send reset link",
    busy: "Sending …",
    about: { invalid_email: "email" },
    async act({ email }) {
      await call("auth", "POST", "/v1/password/forgot", { email });
      go("/sign-in", { replace: true });
      notice("If an account with this address exists, we are sending it an e-mail with a link.", {
        stays: true,
      });
    },
  });
  return card(
    "Forgot your password?",
    element,
    h("p", {}, h("a", { href: "/sign-in" }, "Back to sign-in"), "."),
  );
}

function card(title, ...content) {
  return { title, content: [h("div", { class: "card" }, h("h1", {}, title), content)] };
}

/** Save the display name, which the blog alone has; resolves to the sentence why it could not. */
async function saveName(name) {
  try {
    // It works before the account arrives.
    setProfile(await call("blog", "PATCH", "/v1/me", { display_name: name }));
    return "";
  } catch (error) {
    return sentence(error);
  }
}

/** Wait for the blog to receive the new account. */
async function isKnownToBlog({ id, version }) {
  for (let waits = 0; waits < WAITS; waits += 1) {
    try {
      await call("blog", "GET", `/v1/users/${id}?at_least=${version}&wait=5`);
      return true;
    } catch (error) {
      if (error.code !== "not_caught_up") return false;
    }
  }
  return false;
}
