// Drafts: text that was typed but not sent. They survive errors, navigation and the end of a
// session. The draft of a new post also survives a reload of the tab.
//
// Guarantees: a draft is shown only to the user who typed it. Signing out deletes all drafts, in
// every tab.

import { session } from "./session.js";

export const NEW_POST = "post";

const typed = new Map();

export function draft(name) {
  const found = typed.get(name) ?? (name === NEW_POST ? stored() : null);
  return found?.owner === session.user?.id ? found?.values : undefined;
}

export function keepDraft(name, values) {
  const kept = { owner: session.user?.id, values };
  typed.set(name, kept);
  if (name === NEW_POST) store(JSON.stringify(kept));
}

export function dropDraft(name) {
  typed.delete(name);
  if (name === NEW_POST) store(null);
}

function stored() {
  try {
    return JSON.parse(sessionStorage.getItem(NEW_POST));
  } catch {
    return null;
  }
}

function store(text) {
  try {
    if (text === null) sessionStorage.removeItem(NEW_POST);
    else sessionStorage.setItem(NEW_POST, text);
  } catch {
    // Storage is blocked or full: the draft is still in memory.
  }
}

session.addEventListener("change", ({ detail }) => {
  if (!["signed-out", "deleted", "elsewhere"].includes(detail)) return;
  typed.clear();
  store(null);
});
