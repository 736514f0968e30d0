// Lists that load page by page, and are restored on the way back.

import { h } from "./dom.js";
import { sentence } from "./error_texts.js";
import { call } from "./session.js";
import { announce } from "./shell.js";

const kept = new Map();

/** Drop the loaded lists, which are stale after the user has changed something. */
export function forgetLists() {
  kept.clear();
}

function after(path, cursor) {
  const address = new URL(path, location);
  address.searchParams.set("cursor", cursor);
  return address.pathname + address.search;
}

/** Return the path of a list from where the page's address says; links without scripts do. */
export function fromHere(path) {
  const cursor = new URLSearchParams(location.search).get("cursor");
  return cursor ? after(path, cursor) : path;
}

export async function firstPage(path, { signal, isBack }) {
  if (!isBack) kept.delete(path);
  return kept.get(path) ?? (await call("blog", "GET", path, undefined, { signal }));
}

/**
 * Build the list at `path`, starting with the page `first`. `entry(item)` makes an <li>, `more` is
 * the label of the button, `count(number)` announces how many items were loaded.
 */
export function list(path, first, { entry, more, count, empty, className }) {
  const items = [...first.items];
  const shown = new Map(items.map((item) => [item.id, entry(item)]));
  const entries = h("ol", { class: className }, [...shown.values()]);
  const blank = h("div", {}, empty);
  const problem = h("p", { class: "problem", role: "alert", hidden: true });
  const button = h("button", { type: "button", class: "secondary" }, more);
  const rest = h("div", { class: "more" }, problem, button);
  const element = h("div", {}, blank, entries, rest);
  let cursor = first.next_cursor;
  let isBusy = false;

  function settle() {
    kept.set(path, { items, next_cursor: cursor });
    rest.hidden = cursor === null;
    blank.hidden = items.length > 0;
    entries.hidden = items.length === 0;
  }

  function add(item) {
    // An item that the user has just added is at the end already, before its page is loaded.
    shown.get(item.id)?.remove();
    if (!shown.has(item.id)) items.push(item);
    shown.set(item.id, entry(item));
    entries.append(shown.get(item.id));
  }

  async function next() {
    if (isBusy) return;
    isBusy = true;
    problem.hidden = true;
    button.setAttribute("aria-disabled", true);
    button.textContent = "Loading …";
    try {
      const page = await call("blog", "GET", after(path, cursor));
      cursor = page.next_cursor;
      page.items.forEach(add);
      settle();
      announce(count(page.items.length));
      const [begin] = page.items;
      shown.get(begin?.id)?.querySelector("a, button")?.focus();
      button.textContent = more;
    } catch (error) {
      problem.textContent = sentence(error);
      problem.hidden = false;
      button.textContent = "Try again";
    } finally {
      isBusy = false;
      button.setAttribute("aria-disabled", false);
    }
  }

  button.addEventListener("click", next);
  settle();
  return {
    element,
    add(item) {
      add(item);
      settle();
    },
    replace(item) {
      const place = items.findIndex(({ id }) => id === item.id);
      items[place] = item;
      const made = entry(item);
      shown.get(item.id).replaceWith(made);
      shown.set(item.id, made);
      return made;
    },
    remove(id) {
      items.splice(
        items.findIndex((item) => item.id === id),
        1,
      );
      shown.get(id).remove();
      shown.delete(id);
      settle();
    },
  };
}
