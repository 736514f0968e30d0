// Tables.

import { h } from "/web/dom.js";

/** Build a table of rows of cells, each a text or an element; the first of a row is its heading. */
export function tableOf(titles, rows) {
  const cell = (content, index) => (index === 0 ? h("th", { scope: "row" }, content) : h("td", {}, content));
  return h(
    "table",
    {},
    h("thead", {}, h("tr", {}, titles.map((title) => h("th", { scope: "col" }, title)))),
    h("tbody", {}, rows.map((row) => h("tr", {}, row.map(cell)))),
  );
}
