// Lists that come in pages: more on request, and what was there when one comes back.

import { h } from "./dom.js";
import { sentence } from "./error_texts.js";
import { call } from "./session.js";
import { announce } from "./shell.js";

const kept = new Map();

/** What was loaded is shown again on the way back; after a change of ours it would be wrong. */
export function forgetLists() {
  kept.clear();
}

export async function firstPage(path, { signal, isBack }) {
  if (!isBack) kept.delete(path);
  return kept.get(path) ?? (await call("blog", "GET", path, undefined, { signal }));
}

/**
 * The list at `path`, which begins with the page `first`. `entry(item)` is an <li>; `more` is what
 * the button says; `count` says how many have come.
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
    // One of ours was shown at the end before its page came.
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
      const query = `${path.includes("?") ? "&" : "?"}cursor=${encodeURIComponent(cursor)}`;
      const page = await call("blog", "GET", path + query);
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
