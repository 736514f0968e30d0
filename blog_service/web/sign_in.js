// The views to sign up, to sign in, and to reset a password.

import { h } from "./dom.js";
import { form } from "./forms.js";
import { setProfile } from "./people.js";
import { call, signIn, signUp } from "./session.js";
import { go, notice, takeReturnAddress } from "./shell.js";
import { waitUntil } from "./wait_until.js";

const KNOWN_AFTER_MS_MAX = 10_000;

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
    ],
    submit: "Create account",
    busy: "Creating your account …",
    about: { email_taken: "email", invalid_email: "email", weak_password: "password" },
    async act({ email, password }) {
      await signUp(email, password);
      const signedUpAt = performance.now();
      go(takeReturnAddress(), { replace: true });
      await awaitProfile(signedUpAt);
    },
  });
  return card(
    "Sign up",
    element,
    h("p", {}, "Already have an account? ", h("a", { href: "#/sign-in" }, "Sign in"), "."),
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
    h("p", {}, "New here? ", h("a", { href: "#/sign-up" }, "Sign up"), "."),
    h("p", {}, h("a", { href: "#/forgot" }, "Forgot your password?")),
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
      go("#/sign-in", { replace: true });
      notice("If an account with this address exists, we are sending it an e-mail with a link.", {
        stays: true,
      });
    },
  });
  return card(
    "Forgot your password?",
    element,
    h("p", {}, h("a", { href: "#/sign-in" }, "Back to sign-in"), "."),
  );
}

function card(title, ...content) {
  return { title, content: [h("div", { class: "card" }, h("h1", {}, title), content)] };
}

/** Wait for the blog to receive the new account, and show how long that took. */
async function awaitProfile(signedUpAt) {
  notice("Welcome. Setting up your account …");
  const profile = await waitUntil(async () => {
    const found = await call("blog", "GET", "/v1/me");
    return found.status === "provisional" ? null : found;
  }, KNOWN_AFTER_MS_MAX);
  if (!profile) {
    notice("Welcome. Your account is still being synced; you can already write.");
    return;
  }
  setProfile(profile);
  const passed = Math.round(performance.now() - signedUpAt);
  notice(`Welcome. The blog received your account ${passed} ms after sign-up.`);
}
