// Parts that views share: parts that depend on the signed-in user, loading, errors and messages.

import { h } from "./dom.js";
import { sentence } from "./error_texts.js";
import { session, Unreachable } from "./session.js";

/** Build a part of a view with `make()`, and rebuild it whenever a different user is signed in. */
export function rebuiltPerUser(signal, make) {
  const currentUser = () => `${session.user?.id} ${session.user?.roles}`;
  let builtFor = currentUser();
  const part = h("div", { tabindex: "-1" }, make());
  const rebuild = () => {
    if (currentUser() === builtFor) return;
    builtFor = currentUser();
    const hadFocus = part.contains(document.activeElement);
    part.replaceChildren(...make());
    if (hadFocus) part.focus({ preventScroll: true });
  };
  session.addEventListener("change", rebuild, { signal });
  return part;
}

/** Show grey lines while the content is loading. */
export function skeleton() {
  const line = (look) => h("div", { class: `bar ${look}` });
  const block = () =>
    h("div", { class: "block" }, line("wide"), line("name"), line(""), line(""), line("short"));
  return h("div", { class: "skeleton", "aria-hidden": "true" }, block(), block(), block());
}

const AWAY = {
  auth: [
    "The account service is not responding",
    "Try again later. You can still read posts.",
  ],
  blog: ["The blog is not responding", "It may be restarting. No post or comment is lost."],
};

/** Build a view of a message and the actions it offers. */
export function message(title, text, ...actions) {
  return {
    title,
    content: [
      h("h1", {}, title),
      h("p", { class: "lead" }, text),
      h("div", { class: "actions" }, actions),
    ],
  };
}

/** Build the view that replaces one that failed; `retry` shows it again. */
export function failure(error, retry) {
  if (error.code === "not_found") return missing();
  const [title, text] =
    error instanceof Unreachable ? AWAY[error.service] : ["Something went wrong", sentence(error)];
  const button = h("button", { type: "button", class: "primary", onclick: retry }, "Try again");
  return message(title, text, button);
}

export function missing() {
  return message(
    "Page not found",
    "It may have been deleted, or the link may be incomplete.",
    h("a", { href: "/" }, "Latest posts"),
  );
}
