// The frame of each page of the console: sign-in, the roles that a page needs, and the way to others.
//
// Guarantees: users without a page's role see nothing of it, and a page closes as soon as the role is
// revoked. This is only about what is visible: the services enforce the roles.
//
// A page is NAME.html, with its content in `<template id="page">`, and NAME.js, which calls
// `openPage`. The link to it in frame.html says which roles open it, and which other process it needs.

import { h } from "/web/dom.js";
import { call, confirmPassword, reloadUser, restore, session, signIn, signOut } from "/web/session.js";
import { confirmAction } from "./dialog.js";
import { setAttr, setMessage, setText } from "./render.js";
import { sentence } from "./phrases.js";

const RETRY_MS = 4_000;

const WHY = {
  ended: "Your session has ended. Sign in again.",
  disabled: "An administrator has disabled this account.",
  deleted: "This account has been deleted.",
  elsewhere: "You have been signed out in another tab.",
  "signed-out": "You are signed out.",
};

const place = (id) => document.getElementById(id);
const main = place("main");
const links = [...document.querySelectorAll("#pages a")];
const own = links.find((link) => link.pathname === location.pathname);
const rolesOf = (link) => link.dataset.roles.split(" ");
const isServed = ({ dataset: { needs } }) => !needs || document.querySelector(`meta[name="${needs}"]`).content !== "";
const isAllowed = (link) => isServed(link) && rolesOf(link).some(hasRole);
const needed = `the ${rolesOf(own).join(" or ")} role`;

let run = null; // what the page does once it is open
let open = null; // {closing, user} of the open page: what ends it, and the user it was opened for
let checking = null;

/** Whether the signed-in user has a role, as far as this page knows. */
export const hasRole = (role) => session.user?.roles.includes(role) ?? false;

/** Have screen readers say a text. */
export const announce = (text) => setText(place("announcer"), text);

/**
 * Run a page: show its template to users with one of its roles, and call `start({ call, signal })`.
 * `call` is that of the session; it closes the page if the user has lost its roles, and asks for the
 * password if a service needs it to have been given recently. `signal` is aborted when the page
 * closes; it starts again if another user signs in or roles have changed.
 */
export function openPage(start) {
  run = start;
  session.addEventListener("change", ({ detail }) => {
    if (!session.user) openSignIn(WHY[detail]);
    else if (open?.user !== identity()) openForUser();
  });
  place("sign-out").addEventListener("click", signOutHere);
  begin();
}

async function begin() {
  try {
    if (!(await restore())) openSignIn();
  } catch (error) {
    openSignIn(`${sentence(error)} You cannot sign in until it does; this page keeps trying. On the command line, use blog-service status.`);
    setTimeout(() => session.user || begin(), RETRY_MS);
  }
}

/** Name the user with their roles, which decide what a page shows. */
const identity = () => [session.user.id, ...session.user.roles].join(" ");

function openForUser() {
  if (!isAllowed(own)) openRefusal(`${session.user.email} does not have ${needed}. Ask an administrator for it, then sign in again.`);
  else {
    show("page");
    const closing = new AbortController();
    open = { closing, user: identity() };
    run({ call: (...request) => callAs(closing.signal, request), signal: closing.signal });
  }
}

function openSignIn(why = "") {
  show("entrance");
  setMessage(place("why"), why);
  place("sign-in").addEventListener("submit", async (event) => {
    event.preventDefault();
    const form = event.currentTarget;
    const button = form.querySelector("button");
    if (button.getAttribute("aria-disabled") === "true") return;
    button.setAttribute("aria-disabled", "true");
    try {
      const values = new FormData(form);
      await signIn(values.get("email"), values.get("password"));
    } catch (error) {
      setMessage(place("why"), sentence(error));
      button.removeAttribute("aria-disabled");
      place("password").select();
    }
  });
  place("email").focus();
}

function openRefusal(text) {
  show("refusal");
  setText(place("refused"), text);
  place("other-account").addEventListener("click", signOutHere);
}

/** Replace what is shown, and offer the pages that the user may open. */
function show(template) {
  open?.closing.abort();
  open = null;
  place("state").hidden = true;
  document.title = own.textContent + " – console";
  for (const link of links) {
    link.hidden = !isAllowed(link);
    setAttr(link, "aria-current", link === own ? "page" : null);
  }
  place("who").hidden = !session.user;
  setText(place("who-email"), session.user?.email ?? "");
  main.replaceChildren(place(template).content.cloneNode(true));
  main.focus({ preventScroll: true });
}

async function signOutHere() {
  try {
    await signOut();
  } catch {
    // signed out here in any case
  }
}

async function callAs(signal, request) {
  try {
    return await call(...request);
  } catch (error) {
    if (signal.aborted) throw error;
    if (error.code === "forbidden") await checkRoles(signal);
    if (error.code !== "insufficient_user_authentication" || !(await askPassword(signal))) throw error;
  }
  return call(...request);
}

/** Ask for the password in a dialog; resolves to whether it was confirmed. */
const askPassword = (signal) =>
  confirmAction({
    title: "Confirm it is you",
    content: [
      h("p", {}, "Enter your password to continue. It is asked for again after ten minutes."),
      h("label", { class: "field" }, "Password", h("input", { name: "password", type: "password", autocomplete: "current-password", required: true, "data-first": true })),
    ],
    submit: "Confirm",
    look: "primary",
    signal,
    act: (values) => confirmPassword(values.get("password")),
  });

/** Read the user's roles again, and close or restart the page if they have changed. */
async function checkRoles(signal) {
  checking ??= reloadUser().finally(() => {
    checking = null;
  });
  await checking;
  if (signal.aborted || !session.user || open.user === identity()) return;
  if (isAllowed(own)) openForUser();
  else openRefusal(`You no longer have ${needed}, so the console has closed. Ask an administrator.`);
}
