// Asking before something is done that cannot be taken back.

import { h } from "/web/dom.js";
import { press } from "./busy_button.js";

/**
 * Ask; `content` says what will happen, and may hold controls. `act(form)` does it while the dialog
 * is open, and what goes wrong is said in it; `changed(form, button)` hears of every change of a
 * control. Closed with `signal`. Whether it was done.
 */
export function ask({ title, content, submit, cancel: keep = "Cancel", act, signal, changed = () => {} }) {
  const problem = h("p", { class: "problem", role: "alert", hidden: true });
  const doing = h("button", { class: "danger" }, submit);
  const cancel = h("button", { type: "button" }, keep);
  const form = h("form", {}, content, problem, h("div", { class: "actions" }, doing, cancel));
  const heading = h("h2", { id: "dialog-title" }, title);
  const dialog = h("dialog", { "aria-labelledby": heading.id }, heading, form);
  let isDone = false;

  async function done() {
    await act(new FormData(form));
    isDone = true;
    dialog.close();
  }

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    press(doing, problem, done, signal);
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
