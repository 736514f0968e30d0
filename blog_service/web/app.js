// The blog's page: which view an address has, and who is here.
//
// Guarantees: the back button, a reload and a copied address lead to the same view; a view that
// takes long shows that it is coming, one that fails says why and can be tried again; after each
// step the focus is on the heading of where one is.

import { openAccount } from "./account.js";
import { h } from "./dom.js";
import { openForgot, openSignIn, openSignUp } from "./sign_in.js";
import { avatar, me, nameOf, restored } from "./people.js";
import { openPost, openPosts } from "./posts.js";
import { sentence } from "./error_texts.js";
import { session, signOut, Unreachable } from "./session.js";
import { announce, endNotice, go, notice, rememberPlace, SITE } from "./shell.js";
import { openUser } from "./users.js";
import { failure, message, missing, skeleton } from "./view.js";
import { openEdit, openNew } from "./write.js";

const SKELETON_AFTER_MS = 150;

const ID = "([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})";
const OPEN = "for everybody";
const PRIVATE = "for who is signed in";
const ENTRANCE = "for who is not";

const ROUTES = [
  ["", openPosts, OPEN],
  [`posts/${ID}`, openPost, OPEN],
  [`users/${ID}`, openUser, OPEN],
  ["write", openNew, PRIVATE],
  [`posts/${ID}/edit`, openEdit, PRIVATE],
  ["account", openAccount, PRIVATE],
  ["sign-in", openSignIn, ENTRANCE],
  ["sign-up", openSignUp, ENTRANCE],
  ["forgot", openForgot, ENTRANCE],
].map(([path, open, whom]) => [new RegExp(`^#/${path}$`), open, whom]);

const SAID_AT_THE_END = {
  ended: "Your session has ended. Please sign in again; what you have written is kept.",
  disabled: "An administrator has disabled your account, so you are signed out. Reading goes on.",
  elsewhere: "You are signed out: the session of this browser ended in another tab.",
};

const main = document.getElementById("main");
const menu = document.getElementById("menu");
const scrolledTo = new Map();

let place = null; // what is shown: its address, for whom it is, its place in the history, its end
let places = 0;
history.scrollRestoration = "manual"; // which comes before there is anything to scroll

function found() {
  const address = location.hash || "#/";
  for (const [pattern, open, whom] of ROUTES) {
    const match = pattern.exec(address);
    if (match) return { open, whom, parts: match.slice(1) };
  }
  return { open: missing, whom: OPEN, parts: [] };
}

/** Show what the address says; `isBack` if it was shown before, and is to be as it was. */
async function show({ isBack = false, isFirst = false } = {}) {
  if (place) {
    place.leave.abort();
    scrolledTo.set(place.entry, scrollY);
  }
  endNotice();
  const leave = new AbortController();
  const { open, whom, parts } = found();
  const top = isBack ? (scrolledTo.get(history.state) ?? 0) : 0;
  if (!isBack) history.replaceState(`${performance.timeOrigin} ${(places += 1)}`, "");
  place = { address: location.hash || "#/", whom, entry: history.state, leave };
  if (whom !== ENTRANCE) rememberPlace();
  markPlace();

  const waiting = setTimeout(() => {
    main.replaceChildren(skeleton());
    announce("Loading");
  }, SKELETON_AFTER_MS);
  main.setAttribute("aria-busy", "true");
  let view;
  try {
    if (whom !== OPEN) await restored();
    if (leave.signal.aborted) return;
    if (whom === ENTRANCE && session.user) {
      go("#/", { replace: true });
      return;
    }
    if (whom === PRIVATE && !session.user) view = await gate();
    else view = await open({ signal: leave.signal, isBack }, ...parts);
  } catch (error) {
    if (leave.signal.aborted) return;
    view = failure(error, () => show());
  } finally {
    clearTimeout(waiting);
  }
  if (leave.signal.aborted) return;

  main.removeAttribute("aria-busy");
  announce("");
  main.replaceChildren(...view.content);
  document.title = view.title === SITE ? SITE : `${view.title} · ${SITE}`;
  scrollTo(0, top);
  if (!isFirst) focusHeading();
}

function focusHeading() {
  const heading = main.querySelector("h1");
  if (!heading) return; // nothing is shown yet
  heading.tabIndex = -1;
  heading.focus({ preventScroll: true });
}

/** In place of a view for which one has to be signed in. */
async function gate() {
  const error = await restored();
  if (error instanceof Unreachable) return failure(error, again);
  return message(
    "Sign in first",
    "This is for people with an account. It takes a minute to have one.",
    h("a", { class: "button primary", href: "#/sign-in" }, "Sign in"),
    h("a", { class: "button", href: "#/sign-up" }, "Sign up"),
  );
}

// What has the focus stays: the menu is made anew for somebody else alone.
const self = h("a", { href: "#/account", class: "self" });
let drawnFor;

function drawMenu() {
  const { user } = session;
  if (user) {
    const shown = me.profile ?? { id: user.id, display_name: null, avatar_url: null };
    self.replaceChildren(avatar(shown), h("span", { class: "name", dir: "auto" }, nameOf(shown)));
  }
  document.getElementById("console").hidden = !user?.roles.includes("operator");
  if (drawnFor === (user?.id ?? null)) return;
  drawnFor = user?.id ?? null;
  const hadFocus = menu.contains(document.activeElement);
  if (user) {
    menu.replaceChildren(
      h("a", { href: "#/write", class: "button" }, "Write"),
      self,
      h("button", { type: "button", class: "plain", onclick: leaveAccount }, "Sign out"),
    );
  } else {
    menu.replaceChildren(
      h("a", { href: "#/sign-in" }, "Sign in"),
      h("a", { href: "#/sign-up", class: "button primary" }, "Sign up"),
    );
  }
  markPlace();
  if (hadFocus) focusHeading();
}

function markPlace() {
  for (const link of menu.querySelectorAll("a")) {
    if (link.getAttribute("href") === place.address) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
}

async function leaveAccount({ target }) {
  if (target.getAttribute("aria-disabled") === "true") return;
  target.setAttribute("aria-disabled", "true");
  try {
    await signOut();
    notice("You are signed out.");
  } catch (error) {
    notice(
      `You are signed out on this page, but your session could not be ended. ${sentence(error)}`,
      { stays: true },
    );
  }
}

session.addEventListener("change", ({ detail }) => {
  drawMenu();
  if (SAID_AT_THE_END[detail]) {
    notice(SAID_AT_THE_END[detail], {
      stays: true,
      action: { label: "Sign in", act: () => go("#/sign-in") },
    });
  }
  if (!session.user && place.whom === PRIVATE) {
    if (detail === "signed-out" || detail === "deleted") go("#/", { replace: true });
    else show();
  }
  // Somebody signed in, in another tab, while this one asked him to.
  if (detail === "restored" && place.whom !== OPEN) show();
});
me.addEventListener("change", drawMenu);

// Only an entry of the history where this page was before has a state.
addEventListener("hashchange", () =>
  show({ isBack: history.state !== null && history.state !== place.entry }),
);

document.addEventListener("click", (event) => {
  const link = event.target.closest?.('a[href^="#"]');
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
  const address = link.getAttribute("href");
  if (address === "#main") {
    // To follow it would be to leave the view.
    event.preventDefault();
    main.focus();
  } else if (address === (location.hash || "#/")) {
    event.preventDefault();
    show();
  }
});

async function welcome() {
  const error = await restored();
  drawMenu();
  if (!error) return;
  notice(
    error instanceof Unreachable
      ? "The account service does not answer, so you are signed out for now. Reading goes on."
      : `You could not be signed in again. ${sentence(error)}`,
    { stays: true, action: { label: "Try again", act: again } },
  );
}

async function again() {
  restored({ again: true });
  await welcome();
  if (!session.user && place.whom === PRIVATE) show();
}

show({ isFirst: true });
welcome();
