// Texts that the blog has rendered, and a preview of one while it is written.
//
// Guarantees: the HTML of a response is parsed into a document of its own, in which nothing runs
// and nothing loads. From there only listed elements are built again, with a link's address and a
// list's number as their only attributes: nothing else of a response gets into the page.

import { h } from "./dom.js";
import { sentence } from "./error_texts.js";
import { call } from "./session.js";

const ELEMENTS = new Set(
  "p br hr blockquote pre code ul ol li a em strong s h2 h3 h4 h5 h6".split(" "),
);
const ADDRESS = /^(https?:\/\/|mailto:)/i;
const REL = "nofollow ugc noopener noreferrer";
const PAUSE_MS = 400; // between keystrokes of one thought

/** Show a rendered text. */
export function rich(html) {
  const { body } = new DOMParser().parseFromString(html, "text/html");
  return h("div", { class: "prose", dir: "auto" }, copies(body));
}

function copies(parent) {
  return [...parent.childNodes].map(copy);
}

function copy(node) {
  if (node.nodeType === Node.TEXT_NODE) return node.data;
  if (!ELEMENTS.has(node.localName)) return null;
  return h(node.localName, attributes(node), copies(node));
}

function attributes(node) {
  const address = node.getAttribute("href");
  if (node.localName === "a" && ADDRESS.test(address)) return { href: address, rel: REL };
  return node.localName === "ol" && node.start !== 1 ? { start: node.start } : {};
}

/** Build a preview of what is typed into `input`; `kind` is "post" or "comment". */
export function preview(input, kind) {
  const shown = h("div", { class: "sheet" });
  let newest = 0;
  let waiting;

  async function update() {
    if (!element.open) return;
    const asked = (newest += 1);
    let result = h("p", { class: "hint" }, "Nothing to show yet.");
    if (input.value.trim()) {
      try {
        const body = { body: input.value, kind };
        result = rich((await call("blog", "POST", "/v1/preview", body)).body_html);
      } catch (error) {
        result = h("p", { class: "hint" }, sentence(error));
      }
    }
    if (asked === newest) shown.replaceChildren(result);
  }

  input.addEventListener("input", () => {
    clearTimeout(waiting);
    waiting = setTimeout(update, PAUSE_MS);
  });
  const element = h("details", { ontoggle: update }, h("summary", {}, "Preview"), shown);
  return element;
}
