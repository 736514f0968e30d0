// Updating the page without touching what has not changed, so that focus, selection and scroll stay.

const SVG = "http://www.w3.org/2000/svg";

/** Create an SVG element. */
export function s(tag, attributes = {}, ...children) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

/** Set the text of a node, if it differs. */
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/** Set an attribute, if it differs; null removes it. */
export function setAttr(element, name, value) {
  if (value === null) element.removeAttribute(name);
  else if (element.getAttribute(name) !== String(value)) element.setAttribute(name, value);
}

/** Show a message in `place`, or hide the place if the message is empty. */
export function setMessage(place, text) {
  place.hidden = !text;
  setText(place, text ?? "");
}

/**
 * Keep a list of elements in step with items. `make(item)` returns {element, update(item)}, once for
 * each key. Returns the function that shows items.
 */
export function keyedList(parent, key, make) {
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
