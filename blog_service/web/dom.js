// Making elements.
//
// Guarantees: text stays text. Children that are strings become text nodes, and nothing here or in
// any other module reads a string as HTML.

/** An element; `onclick` and the like are listeners, true and false switch an attribute. */
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

/** What somebody wrote: an empty line begins a paragraph, other line ends stay what they are. */
export function prose(text) {
  const paragraphs = text.split(/\n\s*\n/).filter((part) => part.trim());
  return h(
    "div",
    { class: "prose", dir: "auto" },
    paragraphs.map((part) => h("p", {}, part.trim())),
  );
}

/** The beginning of a text in one paragraph, cut between words. */
export function excerpt(text, length = 280) {
  const line = text.replace(/\s+/g, " ").trim();
  if (line.length <= length) return line;
  return `${line
    .slice(0, length)
    .replace(/\s+\S*$/u, "")
    .toWellFormed()}\u00a0…`;
}

const RELATIVE = new Intl.RelativeTimeFormat("en", { numeric: "auto" });
const DAY = new Intl.DateTimeFormat("en-GB", { dateStyle: "long" });
const MOMENT = new Intl.DateTimeFormat("en-GB", { dateStyle: "full", timeStyle: "short" });

/** A moment: how long ago it was on its first day, then its date. */
export function time(iso) {
  const at = new Date(iso);
  const minutes = Math.round((Date.now() - at) / 60_000);
  let said = DAY.format(at);
  if (minutes < 1) said = "just now";
  else if (minutes < 60) said = RELATIVE.format(-minutes, "minute");
  else if (minutes < 24 * 60) said = RELATIVE.format(-Math.round(minutes / 60), "hour");
  return h("time", { datetime: iso, title: MOMENT.format(at) }, said);
}
