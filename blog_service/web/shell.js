// What surrounds the views: where to go, and what is said beside them.
//
// Not here: which view an address has (`app`).

import { h } from "./dom.js";

export const SITE = "Daybook";

const STEP_MS = 500; // longer than a notice and the step that it belongs to lie apart
const READ_MS = 8_000;

const announcer = document.getElementById("announcer");
const notices = document.getElementById("notices");

/** Go to a view, or show it anew; `replace` leaves no way back to where one was. */
export function go(hash, { replace = false } = {}) {
  if (hash === location.hash) {
    dispatchEvent(new HashChangeEvent("hashchange"));
    return;
  }
  if (replace) location.replace(hash);
  else location.hash = hash;
}

/** Say something to those who listen to the page. */
export function announce(text) {
  announcer.textContent = "";
  setTimeout(() => {
    announcer.textContent = text;
  }, 50); // a change right after another one would be swallowed
}

let shown = null;

/**
 * Say something to everybody, until it is read, closed, or left behind with its view; what `stays`
 * is there until it is closed or something else is said.
 */
export function notice(text, { action, stays = false } = {}) {
  const close = (act) => {
    box.remove();
    act?.();
  };
  const box = h(
    "div",
    { class: "notice" },
    h("p", {}, text),
    action &&
      h(
        "button",
        { type: "button", class: "plain", onclick: () => close(action.act) },
        action.label,
      ),
    h(
      "button",
      {
        type: "button",
        class: "close",
        "aria-label": "Close this message",
        onclick: () => close(),
      },
      "×",
    ),
  );
  shown = { box, stays, at: performance.now() };
  notices.replaceChildren(box);
  if (!stays) setTimeout(close, READ_MS);
}

/** End what is said, unless it stays, or goes with the very step that is being made. */
export function endNotice() {
  if (shown && !shown.stays && performance.now() - shown.at > STEP_MS) shown.box.remove();
}

// Where a visitor wanted to go when he was asked to sign in; kept nowhere else, so that no link
// can choose it.
let wanted = "#/";

export function rememberPlace() {
  if (!/^#\/(sign-|forgot)/.test(location.hash)) wanted = location.hash || "#/";
}

export function placeBefore() {
  const place = wanted;
  wanted = "#/";
  return place;
}
