// Forms and dialogs: labels, errors next to their fields, and protection from double submission.

import { h } from "./dom.js";
import { sentence, sentencesByField } from "./error_texts.js";
import { preview } from "./rich_text.js";
import { Problem, Unreachable } from "./session.js";
import { announce } from "./shell.js";

let made = 0; // for ids

/**
 * Build a form. `fields` are {name, label, type, value, hint, autocomplete, optional, limit,
 * oneLine, rows, preview}. `act(values)` performs the action and may throw. `about` maps a problem's code to
 * the field where its message belongs. `changed(values)` is called on every input.
 */
export function form({
  fields = [],
  submit,
  busy,
  act,
  about = {},
  changed,
  danger = false,
  beside = [],
  quiet = false,
}) {
  made += 1;
  const controls = fields.map((field) => control(field, `f${made}-${field.name}`));
  const byName = Object.fromEntries(controls.map((each) => [each.name, each]));
  const problem = h("p", { class: "problem", role: "alert", hidden: true });
  const button = h(
    "button",
    { class: danger ? "danger" : quiet ? "secondary" : "primary" },
    submit,
  );
  let isBusy = false;
  let waiting = null;

  const element = h(
    "form",
    { novalidate: true, onsubmit: send, onkeydown: sendByKey, oninput: typed },
    controls.map((each) => each.element),
    problem,
    h("div", { class: "actions" }, button, beside),
  );

  function values() {
    return Object.fromEntries(controls.map((each) => [each.name, each.value()]));
  }

  function typed({ target }) {
    controls.find((each) => each.input === target)?.recheck();
    changed?.(values());
  }

  function sendByKey(event) {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
      event.preventDefault();
      element.requestSubmit();
    }
  }

  async function send(event) {
    event.preventDefault();
    if (isBusy || waiting) return;
    show("");
    const wrong = controls.filter((each) => !each.check());
    if (wrong.length) {
      wrong[0].input.focus();
      return;
    }
    setBusy(true);
    try {
      await act(values());
      setBusy(false);
    } catch (error) {
      setBusy(false);
      fail(error);
    }
  }

  function setBusy(is) {
    isBusy = is;
    button.setAttribute("aria-disabled", is);
    element.setAttribute("aria-busy", is);
    button.textContent = is ? busy : submit;
    if (is) announce(busy);
  }

  function fail(error) {
    const found = Object.entries(sentencesByField(error)).filter(([name]) => byName[name]);
    const field = byName[about[error.code]];
    if (field) found.push([field.name, sentence(error)]);
    for (const [name, text] of found) byName[name].show(text);
    if (found.length) {
      byName[found[0][0]].input.focus();
      return;
    }
    show(sentence(error));
    if (error instanceof Unreachable) button.textContent = "Try again";
    if (error instanceof Problem && error.retryAfter) wait(error.retryAfter);
  }

  function show(text) {
    problem.hidden = !text;
    problem.textContent = text;
  }

  function wait(seconds) {
    const until = Date.now() + seconds * 1000;
    const tick = () => {
      const left = Math.ceil((until - Date.now()) / 1000);
      if (left > 0 && button.isConnected) {
        const span = left > 120 ? `${Math.ceil(left / 60)} min` : `${left} s`;
        button.textContent = `Try again in ${span}`;
        return;
      }
      clearInterval(waiting);
      waiting = null;
      button.textContent = submit;
      button.setAttribute("aria-disabled", false);
      show("");
    };
    waiting = setInterval(tick, 250);
    button.setAttribute("aria-disabled", true);
    tick();
  }

  function clear() {
    for (const each of controls) each.set("");
  }

  return { element, controls: byName, clear };
}

function control(field, id) {
  const {
    name,
    label,
    type = "text",
    value = "",
    hint,
    optional = false,
    limit,
    oneLine = false,
  } = field;
  const describedBy = [hint && `${id}-hint`, `${id}-error`].filter(Boolean).join(" ");
  const attributes = {
    id,
    name,
    autocomplete: field.autocomplete ?? "off",
    "aria-describedby": describedBy,
    required: !optional,
  };
  const isLong = type === "textarea";
  const input = isLong
    ? h("textarea", { ...attributes, rows: field.rows ?? 4, dir: "auto" })
    : h("input", { ...attributes, type, dir: type === "text" && "auto" });
  if (type === "email" || type === "url") input.setAttribute("spellcheck", "false");
  input.value = value;
  const error = h("p", { class: "wrong", id: `${id}-error` });
  const left = limit && h("span", { class: "left", "aria-hidden": "true" });
  const seen = field.preview && preview(input, field.preview);

  const element = h(
    "div",
    { class: `field ${field.look ?? ""}` },
    h(
      "div",
      { class: "label" },
      h("label", { for: id }, label, optional && h("span", { class: "optional" }, " (optional)")),
      left,
    ),
    input,
    // After the input in the tab order, although it is shown above it.
    type === "password" && reveal(input),
    hint && h("p", { class: "hint", id: `${id}-hint` }, hint),
    error,
    seen,
  );

  function show(text) {
    error.textContent = text;
    if (text) input.setAttribute("aria-invalid", "true");
    else input.removeAttribute("aria-invalid");
  }

  // The blog counts code points, not UTF-16 units.
  const over = () => (limit ? [...input.value].length - limit : 0);

  function verdict() {
    if (!optional && !input.value.trim()) return "Required.";
    if (over() > 0) return `${over()} ${over() === 1 ? "character" : "characters"} too long.`;
    if (type === "email" && !/^\S+@\S+$/.test(input.value.trim()))
      return "This is not a valid e-mail address.";
    if (type === "url" && input.value.trim() && !isHttps(input.value.trim()))
      return "Enter a URL that starts with https://.";
    if (oneLine && /[\r\n]/.test(input.value)) return "Must be a single line.";
    return "";
  }

  function count() {
    if (limit) left.textContent = over() > -limit / 10 ? `${-over()} left` : "";
  }
  count();

  return {
    name,
    input,
    element,
    show,
    value: () => (type === "password" || isLong ? input.value : input.value.trim()),
    set(text) {
      input.value = text;
      count();
      if (seen) seen.open = false;
    },
    check() {
      show(verdict());
      return !error.textContent;
    },
    /** Update while typing: remove an error once it is fixed; add one only about the length. */
    recheck() {
      count();
      if (error.textContent || over() > 0) show(verdict());
    },
  };
}

function reveal(input) {
  const button = h(
    "button",
    { type: "button", class: "plain reveal", "aria-pressed": "false" },
    "Show password",
  );
  button.addEventListener("click", () => {
    const isShown = input.type === "password";
    input.type = isShown ? "text" : "password";
    button.setAttribute("aria-pressed", isShown);
  });
  return button;
}

function isHttps(text) {
  return URL.canParse(text) && new URL(text).protocol === "https:";
}

/**
 * Ask for confirmation before an action that cannot be undone. `act` runs while the dialog is open,
 * which shows its errors. Resolves to whether the action was done.
 */
export function confirmAction({ title, text = [], fields, submit, busy, about, act }) {
  made += 1;
  const cancel = h("button", { type: "button", class: "secondary" }, "Cancel");
  const heading = h("h2", { id: `d${made}-title` }, title);
  const words = h(
    "div",
    { id: `d${made}-text` },
    text.map((each) => h("p", {}, each)),
  );
  let isDone = false;
  const { element } = form({
    fields,
    submit,
    busy,
    about,
    danger: true,
    beside: [cancel],
    async act(values) {
      await act(values);
      isDone = true;
      dialog.close();
    },
  });
  const dialog = h(
    "dialog",
    { "aria-labelledby": heading.id, "aria-describedby": words.id },
    heading,
    words,
    element,
  );
  cancel.addEventListener("click", () => dialog.close());
  dialog.addEventListener("cancel", (event) => {
    if (element.getAttribute("aria-busy") === "true") event.preventDefault();
  });
  document.body.append(dialog);
  dialog.showModal();
  (element.querySelector("input") ?? cancel).focus();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(isDone);
    });
  });
}
