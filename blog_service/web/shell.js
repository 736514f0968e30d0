// What surrounds the views: navigation, notices and announcements.
//
// Not here: which view an address has (`app`).

import { h } from "./dom.js";

export const SITE = "Daybook";

const TICK_MS = 250;
const STEP_MS = 500; // longer than the time between a notice and the navigation it belongs to
const READ_MS = 8_000;
const LATER_MS = 30_000; // for a notice that tells more, or offers something

const announcer = document.getElementById("announcer");
const notices = document.getElementById("notices");

/** Go to a view, or reload it; `replace` replaces the current entry of the history. */
export function go(address, { replace = false } = {}) {
  if (address !== location.pathname + location.search + location.hash)
    history[replace ? "replaceState" : "pushState"](null, "", address);
  dispatchEvent(new PopStateEvent("popstate"));
}

/** Announce a text to screen readers. */
export function announce(text) {
  announcer.textContent = "";
  setTimeout(() => {
    announcer.textContent = text;
  }, 50); // screen readers miss a change that follows another at once
}

let shown = null;

/**
 * Show a notice for some seconds, or until it is closed or the view changes. Its time stands still
 * while the pointer or the focus is on it, or the page is hidden (WCAG 2.2.1). A notice that `lasts`
 * is shown longer, in every view. One that `stays` is about something that lasts, and is shown
 * until it is closed or replaced.
 */
export function notice(text, { action, lasts = false, stays = false } = {}) {
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
  shown = { box, endures: lasts || stays, at: performance.now() };
  notices.replaceChildren(box);
  if (!stays) leaveAfter(box, lasts || action ? LATER_MS : READ_MS);
}

/** Remove a notice when it was shown for so long without anyone being at it. */
function leaveAfter(box, ms) {
  let left = ms;
  let before = performance.now();
  const timer = setInterval(() => {
    const now = performance.now();
    const isAttended = box.matches(":hover, :focus-within") || document.hidden;
    if (!isAttended) left -= now - before;
    before = now;
    if (left <= 0) box.remove();
    if (!box.isConnected) clearInterval(timer);
  }, TICK_MS);
}

/** Remove the notice, unless it is for every view or belongs to the current navigation. */
export function endNotice() {
  if (shown && !shown.endures && performance.now() - shown.at > STEP_MS) shown.box.remove();
}

// The view to return to after signing in. Only this module sets it, so that no link can choose it.
let returnAddress = "/";

export function rememberReturnAddress() {
  if (!/^\/(sign-|forgot)/.test(location.pathname))
    returnAddress = location.pathname + location.search;
}

export function takeReturnAddress() {
  const address = returnAddress;
  returnAddress = "/";
  return address;
}
