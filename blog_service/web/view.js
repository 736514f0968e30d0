// What views are made of besides their content: parts that depend on who is here, and their states.

import { h } from "./dom.js";
import { sentence } from "./error_texts.js";
import { session, Unreachable } from "./session.js";

/** A part that is made anew when somebody else is signed in, for as long as its view is shown. */
export function live(signal, make) {
  const who = () => `${session.user?.id} ${session.user?.roles}`;
  let before = who();
  const part = h("div", { tabindex: "-1" }, make());
  const again = () => {
    if (who() === before) return;
    before = who();
    const hadFocus = part.contains(document.activeElement);
    part.replaceChildren(...make());
    if (hadFocus) part.focus({ preventScroll: true });
  };
  session.addEventListener("change", again, { signal });
  return part;
}

/** Grey lines in the place of what is loaded. */
export function skeleton() {
  const line = (look) => h("div", { class: `bar ${look}` });
  const block = () =>
    h("div", { class: "block" }, line("wide"), line("name"), line(""), line(""), line("short"));
  return h("div", { class: "skeleton", "aria-hidden": "true" }, block(), block(), block());
}

const AWAY = {
  auth: [
    "The account service does not answer",
    "This has to wait until it is back. Reading goes on.",
  ],
  blog: ["The blog does not answer", "It may be starting anew. Nothing that was written is lost."],
};

/** A view that is a sentence, and what one can do about it. */
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

/** In place of a view that could not be shown; `retry` shows it once more. */
export function failure(error, retry) {
  if (error.code === "not_found") return missing();
  const [title, text] =
    error instanceof Unreachable ? AWAY[error.service] : ["That did not work", sentence(error)];
  const button = h("button", { type: "button", class: "primary", onclick: retry }, "Try again");
  return message(title, text, button);
}

export function missing() {
  return message(
    "This is not here",
    "It may have been deleted, or the link is not complete.",
    h("a", { href: "#/" }, "Latest posts"),
  );
}
