// Doing something by a button.

import { tell } from "./render.js";
import { sentence } from "./phrases.js";

/**
 * `act`, while `button` is off, so that nothing is done twice; what goes wrong is said in `problem`,
 * unless `signal` has ended all of it.
 */
export async function press(button, problem, act, signal) {
  if (button.getAttribute("aria-disabled") === "true") return;
  button.setAttribute("aria-disabled", "true");
  tell(problem, "");
  try {
    await act();
  } catch (error) {
    if (!signal.aborted) tell(problem, sentence(error));
  }
  button.removeAttribute("aria-disabled");
}
