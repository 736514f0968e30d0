// One click on a user: compare them with the source, repair them, or have the source send them again.
//
// What loses something of the replica's asks for confirmation first.

import { h } from "/web/dom.js";
import { waitUntil } from "/web/wait_until.js";
import { runWithButton } from "./busy_button.js";
import { confirmAction } from "./dialog.js";
import { KINDS } from "./kinds.js";
import { capital, count } from "./phrases.js";
import { setAttr, setMessage } from "./render.js";

const COMPARISONS = "/v1/sync/reconcile";
const REPLAYS = "/v1/sync/replays";
const PATIENCE_MS = 60_000; // a consumer takes a comparison up within seconds, and a replay its turn

const LOSES = {
  ahead: ["Set back to the source's state?", "The newer state in the replica is lost. Correct if the source is right.", "Set back"],
  orphans: ["Delete a user unknown to the source?", "Deletion is permanent: their content is hidden immediately and erased after seven days.", "Delete"],
};

/**
 * Build the buttons for the user with this `id`, whose `life` the replica told. `again()` looks at the
 * user once more.
 */
export function userChecks({ call, signal, id, life, again }) {
  const problem = h("p", { class: "problem", role: "alert", hidden: true });
  const outcome = h("p", { class: "outcome", role: "status", hidden: true });
  const [compare, repair, replay] = ["Compare", "Repair", "Replay"].map((text) => h("button", { type: "button" }, text));
  const option = KINDS[life.differs]?.[1] ?? null;
  const why = whyNoRepair(life, option);
  setAttr(repair, "aria-disabled", why ? "true" : null);

  function report(level, text) {
    setAttr(outcome, "data-level", level);
    setMessage(outcome, text);
  }

  /** Wait until what was asked for at `path` is done; null if that takes too long. */
  const ended = (path, isDone) =>
    waitUntil(async () => {
      if (signal.aborted) return {};
      const now = await call("blog", "GET", path, undefined, { signal });
      return isDone(now) ? now : null;
    }, PATIENCE_MS);

  async function run(repairs) {
    report("busy", "Waiting for a consumer …");
    const asked = await call("blog", "POST", COMPARISONS, { users: [id], ...repairs }, { signal });
    const done = await ended(`${COMPARISONS}/${asked.id}`, (now) => now.finished_at);
    await finish(...(done ? verdict(done) : ["look", "It has not ended yet: is a consumer at work?"]));
  }

  async function sendAgain() {
    report("busy", "Asking the source …");
    const asked = await call("blog", "POST", REPLAYS, { users: [id], current_state: true }, { signal });
    const done = await ended(`${REPLAYS}/${asked.id}`, (now) => now.finished_at);
    await finish(...(done ? ["quiet", `The source has sent the current state again: ${count(done.published ?? 0)} of ${count(done.expected ?? 0)}.`] : ["look", `Not sent yet. ${capital(asked.trouble ?? "it waits for its turn")}`]));
  }

  /** Look at the user again, and say there what came of it. */
  async function finish(level, text) {
    if (signal.aborted) return;
    await again();
    const next = document.getElementById("life-outcome");
    if (!next) return;
    setAttr(next, "data-level", level);
    setMessage(next, text);
    next.focus({ preventScroll: true });
  }

  async function repairThem() {
    if (why) return undefined;
    if (option === "repair") return run({ repair: true });
    const [title, text, submit] = LOSES[option];
    const isSure = await confirmAction({ title, content: [h("p", {}, text)], submit, signal, act: () => {} });
    return isSure && run({ [option]: true, max_deletions: 1 });
  }

  const on = (button, act) => button.addEventListener("click", () => runWithButton(button, problem, act, signal));
  on(compare, () => run({}));
  if (!why) on(repair, repairThem);
  on(replay, sendAgain);
  outcome.id = "life-outcome";
  outcome.tabIndex = -1;
  return h("div", { class: "checks" }, h("div", { class: "actions" }, compare, repair, replay, h("span", { class: "hint" }, why ?? "")), problem, outcome);
}

function whyNoRepair({ differs: kind, source_error: error }, option) {
  if (error) return "Not compared, so nothing is known to repair.";
  if (kind === null) return "Nothing differs.";
  if (kind === "in_flight") return "An event is on its way.";
  return option ? null : "Only the source can repair this.";
}

/** What came of a comparison of one user: a level and a sentence. */
function verdict({ verdict: word, explanation, differing, repaired, in_flight: flight }) {
  const kinds = Object.keys(differing ?? {}).map((kind) => kind.replaceAll("_", " "));
  if (word === "could_not_compare") return ["look", capital(explanation)];
  if (word === "drift") return ["wrong", `Differs: ${kinds.join(", ")}. ${explanation ? capital(explanation) : ""}`.trim()];
  if (Object.keys(repaired ?? {}).length) return ["quiet", `Repaired: ${kinds.join(", ")}.`];
  return flight ? ["busy", "An event is on its way."] : ["quiet", "Equal to the source."];
}
