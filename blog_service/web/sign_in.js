// Coming in: sign up, sign in, a forgotten password.

import { h } from "./dom.js";
import { form } from "./forms.js";
import { setProfile } from "./people.js";
import { call, signIn, signUp } from "./session.js";
import { go, notice, placeBefore } from "./shell.js";
import { until } from "./wait_until.js";

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
        hint: "Long beats complicated: a few words that only you would put together.",
      },
    ],
    submit: "Create account",
    busy: "Creating your account …",
    about: { email_taken: "email", invalid_email: "email", weak_password: "password" },
    async act({ email, password }) {
      await signUp(email, password);
      const answeredAt = performance.now();
      go(placeBefore(), { replace: true });
      await follow(answeredAt);
    },
  });
  return entrance(
    "Sign up",
    element,
    h("p", {}, "You have an account? ", h("a", { href: "#/sign-in" }, "Sign in"), "."),
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
      go(placeBefore(), { replace: true });
    },
  });
  return entrance(
    "Sign in",
    element,
    h("p", {}, "New here? ", h("a", { href: "#/sign-up" }, "Sign up"), "."),
    h("p", {}, h("a", { href: "#/forgot" }, "Forgot your password?")),
  );
}

export function openForgot() {
  const { element } = form({
    fields: [{ ...EMAIL, autocomplete: "username" }],
    submit: "Send me a link",
    busy: "Asking …",
    about: { invalid_email: "email" },
    async act({ email }) {
      await call("auth", "POST", "/v1/password/forgot", { email });
      go("#/sign-in", { replace: true });
      notice("If somebody has an account with this address, a mail with a link is on its way.", {
        stays: true,
      });
    },
  });
  return entrance(
    "Forgot your password?",
    element,
    h("p", {}, h("a", { href: "#/sign-in" }, "Back to signing in"), "."),
  );
}

function entrance(title, ...content) {
  return { title, content: [h("div", { class: "card" }, h("h1", {}, title), content)] };
}

/** Tell, quietly, when the blog knows who has just signed up, and how long that took. */
async function follow(answeredAt) {
  notice("Welcome. Setting up your account …");
  const profile = await until(async () => {
    const found = await call("blog", "GET", "/v1/me");
    return found.status === "provisional" ? null : found;
  }, KNOWN_AFTER_MS_MAX);
  if (!profile) {
    notice("Welcome. Your account is still being synced; you can already write.");
    return;
  }
  setProfile(profile);
  const passed = Math.round(performance.now() - answeredAt);
  notice(`Welcome. The blog knew you ${passed} ms after you had signed up.`);
}
