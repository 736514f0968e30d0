// Buttons that run an action.

import { setMessage } from "./render.js";
import { sentence } from "./phrases.js";

/**
 * Run `act` while `button` is disabled, so that it does not run twice. An error is shown in
 * `problem`, unless `signal` is aborted.
 */
export async function runWithButton(button, problem, act, signal) {
  if (button.getAttribute("aria-disabled") === "true") return;
  button.setAttribute("aria-disabled", "true");
  setMessage(problem, "");
  try {
    await act();
  } catch (error) {
    if (!signal.aborted) setMessage(problem, sentence(error));
  }
  button.removeAttribute("aria-disabled");
}
