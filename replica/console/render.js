// Showing what is new without touching what is not: focus, selection and scroll stay where they are.

const SVG = "http://www.w3.org/2000/svg";

/** An SVG element. */
export function s(tag, attributes = {}, ...children) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

/** Show `text`, if it is another one. */
export function put(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/** Set an attribute, if it is another one; null removes it. */
export function set(element, name, value) {
  if (value === null) element.removeAttribute(name);
  else if (element.getAttribute(name) !== String(value)) element.setAttribute(name, value);
}

/** Show a problem's sentence, or hide its place. */
export function tell(place, text) {
  place.hidden = !text;
  put(place, text ?? "");
}

/**
 * Keep a list in step with items: `make(item)` gives {element, update(item)}, once for each key.
 * Returns the function that shows items.
 */
export function keyed(parent, key, make) {
  const known = new Map();
  return (items) => {
    const keys = new Set(items.map(key));
    for (const [gone, { element }] of known) {
      if (keys.has(gone)) continue;
      element.remove();
      known.delete(gone);
    }
    let before = null;
    for (const item of items) {
      let shown = known.get(key(item));
      if (!shown) {
        shown = make(item);
        known.set(key(item), shown);
      }
      shown.update(item);
      const place = before ? before.nextSibling : parent.firstChild;
      if (shown.element !== place) parent.insertBefore(shown.element, place);
      before = shown.element;
    }
  };
}
