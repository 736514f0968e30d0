// The blog's pages: maps addresses to views and shows who is signed in. The server sends a page that
// can be read as it is; the view of its address takes its place.
//
// Guarantees: the back button, a reload and a copied address lead to the same view. A slow view
// shows that it is loading; a failed view says why and can be retried. After each navigation the
// focus is on the heading of the new view.

import { h } from "./dom.js";
import { avatar, me, nameOf, restored } from "./people.js";
import { openPost, openPosts, openSearch } from "./posts.js";
import { sentence } from "./error_texts.js";
import { session, signOut, Unreachable } from "./session.js";
import { announce, endNotice, go, notice, rememberReturnAddress, SITE } from "./shell.js";
import { openUser } from "./users.js";
import { failure, message, missing, skeleton } from "./view.js";

const SKELETON_AFTER_MS = 150;

const ID = "([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})";
const PUBLIC = "for everyone";
const SIGNED_IN = "for signed-in users";
const SIGNED_OUT = "for signed-out visitors";

// Most visitors only read. The modules of other views are loaded with the first of them.
const later =
  (module, open) =>
  async (...visit) =>
    (await import(`./${module}.js`))[open](...visit);

const ROUTES = [
  ["", openPosts, PUBLIC],
  [`posts/${ID}`, openPost, PUBLIC],
  [`users/${ID}`, openUser, PUBLIC],
  ["search", openSearch, PUBLIC],
  ["write", later("write", "openNew"), SIGNED_IN],
  [`posts/${ID}/edit`, later("write", "openEdit"), SIGNED_IN],
  ["account", later("account", "openAccount"), SIGNED_IN],
  ["sign-in", later("sign_in", "openSignIn"), SIGNED_OUT],
  ["sign-up", later("sign_in", "openSignUp"), SIGNED_OUT],
  ["forgot", later("sign_in", "openForgot"), SIGNED_OUT],
].map(([path, open, audience]) => [new RegExp(`^/${path}$`), open, audience]);

const WHY_SIGNED_OUT = {
  ended: "Your session has ended. Sign in again; your drafts are saved.",
  disabled:
    "An administrator has disabled your account, so you are signed out. You can still read posts.",
  elsewhere: "You have been signed out in another tab.",
};

const main = document.getElementById("main");
const menu = document.getElementById("menu");
const scrolledTo = new Map();

let place = null; // the current view: {address, audience, entry (in the history), leave}
let places = 0;
history.scrollRestoration = "manual"; // the browser would scroll before the content is loaded

function viewAt(path) {
  for (const [pattern, open, audience] of ROUTES) {
    const match = pattern.exec(path);
    if (match) return { open, audience, parts: match.slice(1) };
  }
  return null;
}

function found() {
  // In links from before, the address of a view stands behind "#".
  const former = location.hash.slice(1);
  if (former.startsWith("/") && viewAt(former)) history.replaceState(history.state, "", former);
  const path = location.hash.startsWith("#/") ? "" : location.pathname;
  return viewAt(path) ?? { open: missing, audience: PUBLIC, parts: [] };
}

/** Show the view of the current address; `isBack` restores a view that was shown before. */
async function show({ isBack = false, isFirst = false } = {}) {
  if (place) {
    place.leave.abort();
    scrolledTo.set(place.entry, scrollY);
  }
  endNotice();
  const leave = new AbortController();
  const { open, audience, parts } = found();
  const top = isBack ? (scrolledTo.get(history.state) ?? 0) : 0;
  if (!isBack) history.replaceState(`${performance.timeOrigin} ${(places += 1)}`, "");
  place = { address: location.pathname, audience, entry: history.state, leave };
  if (audience !== SIGNED_OUT) rememberReturnAddress();
  markPlace();

  const isReadable = isFirst && main.querySelector("h1"); // as the server has sent it
  const waiting = setTimeout(() => {
    if (isReadable) return;
    main.replaceChildren(skeleton());
    announce("Loading");
  }, SKELETON_AFTER_MS);
  main.setAttribute("aria-busy", "true");
  let view;
  try {
    if (audience !== PUBLIC) await restored();
    if (leave.signal.aborted) return;
    if (audience === SIGNED_OUT && session.user) {
      go("/", { replace: true });
      return;
    }
    if (audience === SIGNED_IN && !session.user) view = await signInFirst();
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
  if (!isReadable) scrollTo(0, top);
  if (!isFirst) focusHeading();
}

function focusHeading() {
  const heading = main.querySelector("h1");
  if (!heading) return; // the view is still loading
  heading.tabIndex = -1;
  heading.focus({ preventScroll: true });
}

/** Return the view shown to signed-out visitors in place of one that needs an account. */
async function signInFirst() {
  const error = await restored();
  if (error instanceof Unreachable) return failure(error, retryRestore);
  return message(
    "Sign in first",
    "You need an account for this page. Signing up takes a minute.",
    h("a", { class: "button primary", href: "/sign-in" }, "Sign in"),
    h("a", { class: "button", href: "/sign-up" }, "Sign up"),
  );
}

// The focus stays: the menu is rebuilt only for a different user.
const self = h("a", { href: "/account", class: "self" });
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
      h("a", { href: "/write", class: "button" }, "Write"),
      self,
      h("button", { type: "button", class: "plain", onclick: signOutHere }, "Sign out"),
    );
  } else {
    menu.replaceChildren(
      h("a", { href: "/sign-in" }, "Sign in"),
      h("a", { href: "/sign-up", class: "button primary" }, "Sign up"),
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

async function signOutHere({ target }) {
  if (target.getAttribute("aria-disabled") === "true") return;
  target.setAttribute("aria-disabled", "true");
  try {
    await signOut();
    notice("You are signed out.");
  } catch (error) {
    notice(
      `You are signed out on this page, but the service could not end your session. ${sentence(error)}`,
      { stays: true },
    );
  }
}

session.addEventListener("change", ({ detail }) => {
  drawMenu();
  if (WHY_SIGNED_OUT[detail]) {
    notice(WHY_SIGNED_OUT[detail], {
      stays: true,
      action: { label: "Sign in", act: () => go("/sign-in") },
    });
  }
  if (!session.user && place.audience === SIGNED_IN) {
    if (detail === "signed-out" || detail === "deleted") go("/", { replace: true });
    else show();
  }
  // Signed in from another tab while this one asked for it.
  if (detail === "restored" && place.audience !== PUBLIC) show();
});
me.addEventListener("change", drawMenu);

// Only history entries that this page has shown before have a state.
addEventListener("popstate", () =>
  show({ isBack: history.state !== null && history.state !== place.entry }),
);

document.addEventListener("click", (event) => {
  const link = event.target.closest?.("a[href]");
  if (!link || event.button || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey)
    return;
  if (link.getAttribute("href") === "#main") {
    // Following the link would leave the view.
    event.preventDefault();
    main.focus();
  } else if (link.origin === location.origin && viewAt(link.pathname)) {
    event.preventDefault();
    go(link.pathname + link.search);
  }
});

async function welcome() {
  const error = await restored();
  drawMenu();
  if (!error) return;
  notice(
    error instanceof Unreachable
      ? "The account service is not responding, so you are signed out for now. You can still read posts."
      : `Your session could not be restored. ${sentence(error)}`,
    { stays: true, action: { label: "Try again", act: retryRestore } },
  );
}

async function retryRestore() {
  restored({ again: true });
  await welcome();
  if (!session.user && place.audience === SIGNED_IN) show();
}

show({ isFirst: true });
welcome();
