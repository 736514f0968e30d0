// What surrounds the views: where to go, and what is said beside them.
//
// Not here: which view an address has (`app`).

import { h } from "./dom.js";

export const SITE = "Daybook";

const announcer = document.getElementById("announcer");
const notices = document.getElementById("notices");

/** Whether the next change of the address is a step forward that the page or a link makes. */
export const step = { isForward: false };

/** Go to a view, or show it anew; `replace` leaves no way back to where one was. */
export function go(hash, { replace = false } = {}) {
  if (hash === location.hash) {
    dispatchEvent(new HashChangeEvent("hashchange"));
    return;
  }
  step.isForward = true;
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

/** Say something to everybody, until the next notice or for long enough to read it twice. */
export function notice(text, { action, stays = false } = {}) {
  const said = h("p", {}, text);
  const box = h(
    "div",
    { class: "notice" },
    said,
    action && h("button", { type: "button", class: "plain", onclick: () => close(action.act) }, action.label),
    h("button", { type: "button", class: "close", "aria-label": "Close this message", onclick: () => close() }, "×"),
  );
  const end = stays ? null : setTimeout(() => box.remove(), 12_000);
  function close(act) {
    clearTimeout(end);
    box.remove();
    act?.();
  }
  notices.replaceChildren(box);
  return {
    say(other, { stays: still = false } = {}) {
      said.textContent = other;
      clearTimeout(end);
      if (!still) setTimeout(() => box.remove(), 12_000);
    },
  };
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
