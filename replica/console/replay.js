// Have the source send users or events once more: count first, then start, watch and steer.

import { h } from "/web/dom.js";
import { ask } from "./dialog.js";
import { badge } from "./diagram.js";
import { poll } from "./poll.js";
import { press } from "./busy_button.js";
import { keyed, put, set, tell } from "./render.js";
import { actor, ago, capital, clock, count, many, sentence, span } from "./phrases.js";

const PATH = "/v1/sync/replays";
const LISTED = 10;
const BUSY_MS = 1_000;
const IDLE_MS = 5_000;

// Each with a level, its word, and its shape where that is not the level's.
const STATES = {
  running: ["busy", "running"],
  paused: ["look", "paused", "M9 6v12M15 6v12"],
  done: ["quiet", "done"],
  cancelled: ["unknown", "cancelled", "M12 3a9 9 0 1 0 .01 0M9 9l6 6M15 9l-6 6"],
};

/** The panel; `heard(replays)` hears of the newest ones. Ends with `signal`. */
export function replayPanel({ call, signal, heard, missed }) {
  const place = (id) => document.getElementById(id);
  const form = place("replay-form");
  const problem = place("replay-problem");
  const empty = h("p", { class: "empty" }, "None yet.");
  let replays = [];
  let older = [];
  let cursor = null;
  let planned = null; // what was counted, and may be started

  const show = keyed(place("replays"), (each) => each.id, (each) => card(each, steer));
  const soon = poll((stop) => call("blog", "GET", `${PATH}?limit=${LISTED}`, undefined, { signal: stop }), {
    every: () => (replays.some((each) => each.state === "running") ? BUSY_MS : IDLE_MS),
    signal,
    missed,
    heard({ items, next_cursor: next }) {
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
    heard(replays);
  }

  async function steer(replay, state) {
    if (state === "cancelled" && !(await mayCancel(replay))) return;
    const told = await call("blog", "PATCH", `${PATH}/${replay.id}`, { state }, { signal });
    replays = replays.map((each) => (each.id === told.id ? told : each));
    older = older.map((each) => (each.id === told.id ? told : each));
    list();
    soon();
  }

  const mayCancel = (replay) =>
    ask({
      title: "Cancel this replay?",
      content: [h("p", {}, `${count(replay.published)} of ${count(replay.expected)} are sent, and stay sent. The rest is not, and a cancelled replay stays cancelled.`)],
      submit: "Cancel the replay",
      cancel: "Keep it",
      signal,
      act: () => {},
    });

  function wanted() {
    const values = new FormData(form);
    const users = values.get("users").split(/[\s,;]+/).filter(Boolean);
    const body = { rate: Number(values.get("rate")), users };
    if (values.get("what") === "state") return { ...body, current_state: true };
    // The field has no time zone: what is typed is UTC.
    for (const name of ["since", "until"]) if (values.get(name)) body[name] = `${values.get(name).padEnd(19, ":00")}Z`;
    if (values.get("from_position")) body.from_position = Number(values.get("from_position"));
    return { ...body, types: values.getAll("types") };
  }

  function forget() {
    place("of-the-log").hidden = new FormData(form).get("what") === "state";
    if (!planned) return;
    planned = null;
    place("start-replay").disabled = true;
    place("plan").replaceChildren(h("p", { class: "hint" }, "Count once more: what is asked for has changed."));
  }

  async function countWanted() {
    const body = wanted();
    put(place("count"), "Counting …");
    try {
      const plan = await call("blog", "POST", PATH, { ...body, dry_run: true }, { signal });
      if (JSON.stringify(wanted()) === JSON.stringify(body)) {
        planned = body;
        place("plan").replaceChildren(...planSaid(plan));
        place("start-replay").disabled = plan.events === 0;
      }
    } finally {
      put(place("count"), "Count what would be sent");
    }
  }

  form.addEventListener("input", forget);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    press(place("count"), problem, countWanted, signal);
  });

  place("start-replay").addEventListener("click", async ({ currentTarget: button }) => {
    if (!planned) return;
    const body = planned;
    planned = null;
    button.disabled = true;
    tell(problem, "");
    try {
      const made = await call("blog", "POST", PATH, body, { signal });
      replays = [made, ...replays];
      place("plan").replaceChildren(h("p", { class: "hint" }, "Started; it is the first of the list above."));
      list();
      soon();
      place("replay-title").scrollIntoView({ block: "start" });
    } catch (error) {
      if (!signal.aborted) tell(problem, sentence(error));
    }
  });

  async function showOlder() {
    const page = await call("blog", "GET", `${PATH}?limit=${LISTED}&cursor=${cursor}`, undefined, { signal });
    older = [...older, ...page.items];
    cursor = page.next_cursor;
    list();
  }

  place("older-replays").addEventListener("click", ({ currentTarget: button }) => press(button, problem, showOlder, signal));
}

/** The source knows those that were asked for here by the blog's account. */
const by = (text) => (text.startsWith("svc_") ? ", asked for at the blog" : ` by ${actor(text)}`);

function planSaid(plan) {
  const byType = Object.entries(plan.by_type).filter(([, number]) => number).map(([type, number]) => `${count(number)} ${type}`);
  return [
    h("p", { class: "strong" }, plan.events ? `${many(plan.events, "event")} would be sent, in about ${span(plan.seconds)} at ${count(plan.rate)} a second.` : "Nothing would be sent: no event is like this."),
    plan.events > 0 && h("p", {}, `${byType.join(", ")}.${plan.erased_users ? ` Of ${many(plan.erased_users, "user")} the tombstone alone: they were deleted.` : ""}`),
    plan.warning && h("p", { class: "notice" }, capital(plan.warning)),
  ].filter(Boolean);
}

function conditions(replay) {
  const parts = [replay.current_state ? "everyone as they are" : "recorded events"];
  if (replay.since) parts.push(`since ${clock(replay.since)}`);
  if (replay.until) parts.push(`before ${clock(replay.until)}`);
  if (replay.from_position) parts.push(`from position ${count(replay.from_position)}`);
  if (replay.users.length) parts.push(`of ${many(replay.users.length, "user")}`);
  if (replay.types.length) parts.push(`only ${replay.types.join(", ")}`);
  return capital(parts.join(", "));
}

/** One replay: what, how far, how fast, and what can be done about it. */
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
    h("div", { class: "spread" }, mark.element, h("p", {}, conditions(made)), h("p", { class: "hint" }, age, `${by(made.requested_by)}, at most ${count(made.rate)} a second`)),
    bar,
    h("div", { class: "spread" }, amount, actions),
    trouble,
    failed,
  );
  let replay = made;
  let seen = null; // when it was how far, for the rate

  async function act(state) {
    tell(failed, "");
    try {
      await steer(replay, state);
    } catch (error) {
      tell(failed, sentence(error));
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
      put(age, ago(now.created_at));
      set(bar, "value", Math.min(now.published, now.expected));
      const isOpen = now.state === "running" || now.state === "paused";
      bar.hidden = !isOpen;
      actions.hidden = !isOpen;
      put(pause, now.state === "paused" ? "Resume" : "Pause");
      const parts = [`${count(now.published)} of ${count(now.expected)} sent`];
      if (now.state === "running") {
        const measured = rate();
        if (measured !== null && measured >= 0.5) parts.push(`${count(Math.round(measured))} a second`);
        if (now.seconds_left) parts.push(`${span(Math.max(1, now.seconds_left))} left`);
        if (!now.started_at && !now.trouble) parts.push("waits for its turn");
      } else seen = null;
      if (now.finished_at) parts.push(`ended ${ago(now.finished_at)}`);
      put(amount, parts.join(", "));
      tell(trouble, now.trouble && capital(now.trouble));
    },
  };
}
