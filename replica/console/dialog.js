// Confirmation of actions that cannot be undone.

import { h } from "/web/dom.js";
import { runWithButton } from "./busy_button.js";

let number = 0; // a dialog may open on top of another

/**
 * Ask for confirmation. `content` says what will happen and may contain controls. `act(form)` runs
 * while the dialog is open, which shows its errors. `changed(form, button)` is called when a control
 * changes. `look` is the class of the button. `signal` closes the dialog. Resolves to whether the
 * action was done.
 */
export function confirmAction({ title, content, submit, cancel: keep = "Cancel", act, signal, look = "danger", changed = () => {} }) {
  const problem = h("p", { class: "problem", role: "alert", hidden: true });
  const doing = h("button", { class: look }, submit);
  const cancel = h("button", { type: "button" }, keep);
  const form = h("form", {}, content, problem, h("div", { class: "actions" }, doing, cancel));
  const heading = h("h2", { id: `dialog-title-${(number += 1)}` }, title);
  const dialog = h("dialog", { "aria-labelledby": heading.id }, heading, form);
  let isDone = false;

  async function done() {
    await act(new FormData(form));
    isDone = true;
    dialog.close();
  }

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    runWithButton(doing, problem, done, signal);
  });
  form.addEventListener("input", () => changed(form, doing));
  changed(form, doing);
  cancel.addEventListener("click", () => dialog.close());
  signal.addEventListener("abort", () => dialog.close());
  document.body.append(dialog);
  dialog.showModal();
  (form.querySelector("[data-first]") ?? cancel).focus();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(isDone);
    });
  });
}
