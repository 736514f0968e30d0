// Building elements.
//
// Guarantees: text stays text. Strings among the children become text nodes; `rich_text` alone
// parses a string as HTML.

/** Create an element; `onclick` and the like add listeners, true and false switch an attribute. */
export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value !== false && value != null)
      element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child != null && child !== false));
  return element;
}

/** Show a plain text: a blank line starts a paragraph, other line breaks are kept. */
export function prose(text) {
  const paragraphs = text.split(/\n\s*\n/).filter((part) => part.trim());
  return h(
    "div",
    { class: "prose plain-text", dir: "auto" },
    paragraphs.map((part) => h("p", {}, part.trim())),
  );
}

const RELATIVE = new Intl.RelativeTimeFormat("en", { numeric: "auto" });
const DAY = new Intl.DateTimeFormat("en-GB", { dateStyle: "long" });
const MOMENT = new Intl.DateTimeFormat("en-GB", { dateStyle: "full", timeStyle: "short" });

/** Show a time: relative on the first day, then as a date. */
export function time(iso) {
  const at = new Date(iso);
  const minutes = Math.round((Date.now() - at) / 60_000);
  let text = DAY.format(at);
  if (minutes < 1) text = "just now";
  else if (minutes < 60) text = RELATIVE.format(-minutes, "minute");
  else if (minutes < 24 * 60) text = RELATIVE.format(-Math.round(minutes / 60), "hour");
  return h("time", { datetime: iso, title: MOMENT.format(at) }, text);
}
