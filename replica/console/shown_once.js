// A new API key, shown once.
//
// Guarantees: the key is in this dialog and nowhere else, and leaves the page when the dialog closes,
// when the page closes, and when the browser goes to another page.

import { h } from "/web/dom.js";
import { setText } from "./render.js";
import { clock } from "./phrases.js";

/** Show the key of an issued key's response; resolves when the dialog is closed. */
export function showOnce(issued, signal) {
  const key = h("code", { class: "secret", tabindex: "0", "aria-label": "API key" }, issued.api_key);
  const copied = h("span", { class: "hint", role: "status" });
  const copy = h("button", { type: "button" }, "Copy");
  const stored = h("button", { class: "primary" }, "I have stored it");
  const dialog = h(
    "dialog",
    { "aria-labelledby": "key-title" },
    h("h2", { id: "key-title" }, `The API key of ${issued.name}`),
    h(
      "form",
      { method: "dialog" },
      h("p", { class: "notice" }, "It is never shown again. Store it where the service reads its secrets."),
      h("dl", {}, h("dt", {}, "Account"), h("dd", {}, h("code", {}, issued.id)), h("dt", {}, "Expires"), h("dd", {}, clock(issued.expires_at, { seconds: false }))),
      key,
      h("div", { class: "actions" }, stored, copy, copied),
    ),
  );
  copy.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(key.textContent);
      setText(copied, "Copied.");
    } catch {
      getSelection().selectAllChildren(key);
      setText(copied, "Selected: copy it by hand.");
    }
  });
  const gone = new AbortController();
  const close = () => dialog.close();
  signal.addEventListener("abort", close, { signal: gone.signal });
  addEventListener("pagehide", close, { signal: gone.signal });
  document.body.append(dialog);
  dialog.showModal();
  key.focus();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => {
      gone.abort();
      key.textContent = "";
      dialog.remove();
      resolve();
    });
  });
}
