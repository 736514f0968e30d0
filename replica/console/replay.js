// Replays, in which the source sends users or events again: count, start, follow, pause and cancel.

import { h } from "/web/dom.js";
import { confirmAction } from "./dialog.js";
import { badge } from "./diagram.js";
import { poll } from "./poll.js";
import { runWithButton } from "./busy_button.js";
import { by } from "./links.js";
import { keyedList, setText, setAttr, setMessage } from "./render.js";
import { ago, capital, clock, count, many, sentence, span } from "./phrases.js";

const PATH = "/v1/sync/replays";
const LISTED = 10;
const BUSY_MS = 1_000;
const IDLE_MS = 5_000;

// Each state's level, word and, where it differs from the level's, shape.
const STATES = {
  running: ["busy", "running"],
  paused: ["look", "paused", "M9 6v12M15 6v12"],
  done: ["quiet", "done"],
  cancelled: ["unknown", "cancelled", "M12 3a9 9 0 1 0 .01 0M9 9l6 6M15 9l-6 6"],
};

/** Run the panel until `signal` is aborted; `onData(replays)` receives the newest replays. */
export function replayPanel({ call, signal, onData, onError }) {
  const place = (id) => document.getElementById(id);
  const form = place("replay-form");
  const problem = place("replay-problem");
  const empty = h("p", { class: "empty" }, "No replays yet.");
  let replays = [];
  let older = [];
  let cursor = null;
  let planned = null; // the conditions that were counted and may be started

  const show = keyedList(place("replays"), (each) => each.id, (each) => card(each, steer));
  const soon = poll((stop) => call("blog", "GET", `${PATH}?limit=${LISTED}`, undefined, { signal: stop }), {
    every: () => (replays.some((each) => each.state === "running") ? BUSY_MS : IDLE_MS),
    signal,
    onError,
    onData({ items, next_cursor: next }) {
      replays = items;
      if (!older.length) cursor = next;
      list();
    },
  });

  function list() {
    show([...replays, ...older]);
    if (replays.length) empty.remove();
    else place("replays").append(empty);
    place("older-replays").hidden = cursor === null;
    onData(replays);
  }

  async function steer(replay, state) {
    if (state === "cancelled" && !(await mayCancel(replay))) return;
    const changed = await call("blog", "PATCH", `${PATH}/${replay.id}`, { state }, { signal });
    replays = replays.map((each) => (each.id === changed.id ? changed : each));
    older = older.map((each) => (each.id === changed.id ? changed : each));
    list();
    soon();
  }

  const mayCancel = (replay) =>
    confirmAction({
      title: "Cancel this replay?",
      content: [h("p", {}, `${count(replay.published)} of ${count(replay.expected)} events have been sent. The rest is not sent. A cancelled replay cannot be resumed.`)],
      submit: "Cancel replay",
      cancel: "Continue replay",
      signal,
      act: () => {},
    });

  function wanted() {
    const values = new FormData(form);
    const users = values.get("users").split(/[\s,;]+/).filter(Boolean);
    const body = { rate: Number(values.get("rate")), users };
    if (values.get("what") === "state") return { ...body, current_state: true };
    // The field has no time zone; the value is UTC.
    for (const name of ["since", "until"]) if (values.get(name)) body[name] = `${values.get(name).padEnd(19, ":00")}Z`;
    if (values.get("from_position")) body.from_position = Number(values.get("from_position"));
    return { ...body, types: values.getAll("types") };
  }

  function forget() {
    place("of-the-log").hidden = new FormData(form).get("what") === "state";
    if (!planned) return;
    planned = null;
    place("start-replay").disabled = true;
    place("plan").replaceChildren(h("p", { class: "hint" }, "The conditions have changed. Count again."));
  }

  async function countWanted() {
    const body = wanted();
    setText(place("count"), "Counting …");
    try {
      const plan = await call("blog", "POST", PATH, { ...body, dry_run: true }, { signal });
      if (JSON.stringify(wanted()) === JSON.stringify(body)) {
        planned = body;
        place("plan").replaceChildren(...planSummary(plan));
        place("start-replay").disabled = plan.events === 0;
      }
    } finally {
      setText(place("count"), "Count events");
    }
  }

  form.addEventListener("input", forget);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    runWithButton(place("count"), problem, countWanted, signal);
  });

  place("start-replay").addEventListener("click", async ({ currentTarget: button }) => {
    if (!planned) return;
    const body = planned;
    planned = null;
    button.disabled = true;
    setMessage(problem, "");
    try {
      const made = await call("blog", "POST", PATH, body, { signal });
      replays = [made, ...replays];
      place("plan").replaceChildren(h("p", { class: "hint" }, "Started. It is the first in the list above."));
      list();
      soon();
      place("replay-title").scrollIntoView({ block: "start" });
    } catch (error) {
      if (!signal.aborted) setMessage(problem, sentence(error));
    }
  });

  async function showOlder() {
    const page = await call("blog", "GET", `${PATH}?limit=${LISTED}&cursor=${cursor}`, undefined, { signal });
    older = [...older, ...page.items];
    cursor = page.next_cursor;
    list();
  }

  place("older-replays").addEventListener("click", ({ currentTarget: button }) => runWithButton(button, problem, showOlder, signal));
}

function planSummary(plan) {
  const byType = Object.entries(plan.by_type).filter(([, number]) => number).map(([type, number]) => `${count(number)} ${type}`);
  return [
    h("p", { class: "strong" }, plan.events ? `${many(plan.events, "event")} would be sent, in about ${span(plan.seconds)} at ${count(plan.rate)} per second.` : "No matching events."),
    plan.events > 0 && h("p", {}, `${byType.join(", ")}.${plan.erased_users ? ` For ${many(plan.erased_users, "deleted user")} only the tombstone.` : ""}`),
    plan.warning && h("p", { class: "notice" }, capital(plan.warning)),
  ].filter(Boolean);
}

function conditions(replay) {
  const parts = [replay.current_state ? "current state" : "recorded events"];
  if (replay.since) parts.push(`since ${clock(replay.since)}`);
  if (replay.until) parts.push(`before ${clock(replay.until)}`);
  if (replay.from_position) parts.push(`from position ${count(replay.from_position)}`);
  if (replay.users.length) parts.push(`of ${many(replay.users.length, "user")}`);
  if (replay.types.length) parts.push(`only ${replay.types.join(", ")}`);
  return capital(parts.join(", "));
}

/** Build the card of a replay: conditions, progress, rate and actions. */
function card(made, steer) {
  const mark = badge();
  const bar = h("progress", { "aria-label": "Sent", max: Math.max(1, made.expected) });
  const amount = h("p", { class: "hint" });
  const trouble = h("p", { class: "problem", hidden: true });
  const failed = h("p", { class: "problem", role: "alert", hidden: true });
  const pause = h("button", { type: "button" }, "Pause");
  const cancel = h("button", { type: "button" }, "Cancel");
  const actions = h("div", { class: "actions" }, pause, cancel);
  const age = h("span", {});
  const element = h(
    "article",
    { class: "running replay" },
    h("div", { class: "spread" }, mark.element, h("p", {}, conditions(made)), h("p", { class: "hint" }, age, " ", ...by(made.requested_by), `, at most ${count(made.rate)} per second`)),
    bar,
    h("div", { class: "spread" }, amount, actions),
    trouble,
    failed,
  );
  let replay = made;
  let seen = null; // the last measurement {at, published, rate}

  async function act(state) {
    setMessage(failed, "");
    try {
      await steer(replay, state);
    } catch (error) {
      setMessage(failed, sentence(error));
    }
  }
  pause.addEventListener("click", () => act(replay.state === "paused" ? "running" : "paused"));
  cancel.addEventListener("click", () => act("cancelled"));

  function rate() {
    const at = performance.now();
    if (seen && seen.published <= replay.published && at - seen.at < 900) return seen.rate;
    const measured = seen && replay.published >= seen.published ? ((replay.published - seen.published) * 1000) / (at - seen.at) : null;
    seen = { at, published: replay.published, rate: measured };
    return measured;
  }

  return {
    element,
    update(now) {
      replay = now;
      mark.update(STATES[now.state] ?? ["unknown", now.state]);
      setText(age, ago(now.created_at));
      setAttr(bar, "value", Math.min(now.published, now.expected));
      const isOpen = now.state === "running" || now.state === "paused";
      bar.hidden = !isOpen;
      actions.hidden = !isOpen;
      setText(pause, now.state === "paused" ? "Resume" : "Pause");
      const parts = [`${count(now.published)} of ${count(now.expected)} sent`];
      if (now.state === "running") {
        const measured = rate();
        if (measured !== null && measured >= 0.5) parts.push(`${count(Math.round(measured))} per second`);
        if (now.seconds_left) parts.push(`${span(Math.max(1, now.seconds_left))} left`);
        if (!now.started_at && !now.trouble) parts.push("waiting for its turn");
      } else seen = null;
      if (now.finished_at) parts.push(`ended ${ago(now.finished_at)}`);
      setText(amount, parts.join(", "));
      setMessage(trouble, now.trouble && capital(now.trouble));
    },
  };
}
