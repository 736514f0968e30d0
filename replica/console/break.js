// The page "Break it": orders faults from the injector of `make up`, and times what follows.

import { h } from "/web/dom.js";
import { runWithButton } from "./busy_button.js";
import { announce, openPage } from "./frame.js";
import { clock, sentence, span } from "./phrases.js";
import { poll } from "./poll.js";
import { keyedList, setAttr, setMessage, setText } from "./render.js";
import { keptStages, STAGES, stagesOf } from "./stopwatch.js";

const LOOK_MS = 1_000;
const TICK_MS = 100;
const LOOKS_MAX = 600; // ten minutes
const RUNS_READ = 10; // proofs and comparisons since the fault; each lasts seconds
const PAST_MAX = 10;
const PROOF_MS = 15_000;
const KEPT = "break-it"; // in the tab's storage: the stages of the last fault

const FAULTS = {
  kill_consumer: ["Kill the consumer", "kill -9. Sign-ups continue, events wait in the queue, and it starts again after 35 s."],
  purge_queue: ["Purge the queue", "Three people sign up, and the messages about them are thrown away at the broker."],
  edit_row: ["Edit a row", "One person gets another e-mail address in the replica, by SQL."],
  delete_row: ["Delete a row", "One person's row disappears from the replica, by SQL."],
  add_row: ["Add a row", "The replica gets a user that the source never had, by SQL."],
  stop_broker: ["Stop the broker", "RabbitMQ is gone for 20 s. Sign-ups continue, and events wait in the outbox."],
};

/** Faults after which an operator has to ask for the repair, and what for. */
const REPAIRS = {
  edit_row: [{ repair: true }, "The services change no content on their own: which side is right is for you to say."],
  add_row: [{ repair: true, orphans: true }, "The services delete nobody on their own: this may be the wrong source."],
};

const TITLES = { noticed: "Noticed", named: "Named", repaired: "Repaired", proved: "Proved" };

const place = (id) => document.getElementById(id);

openPage(({ call, signal }) => {
  const opened = Date.now();
  let broken = null; // the fault, as the injector reports it
  let reached = null; // its stages
  let looks = [];
  let runs = [];
  let past = [];

  const buttons = Object.entries(FAULTS).map(([name, [title, what]]) => {
    const button = h("button", { type: "button", class: "danger", "aria-describedby": `about-${name}` }, title);
    const about = h("p", { id: `about-${name}`, class: "hint" }, what);
    button.addEventListener("click", () => runWithButton(button, place("break-problem"), () => strike(name), signal));
    place("faults").append(h("li", {}, button, about));
    return { name, what, button, about };
  });

  const showDone = keyedList(place("done"), ({ at, text }) => `${at} ${text}`, ({ at, text }) => ({
    element: h("li", {}, h("time", {}, clock(at)), ` ${text}`),
    update() {},
  }));

  const stages = Object.fromEntries(
    STAGES.map((name) => {
      const after = h("p", { class: "after" });
      const text = h("p", { class: "hint" });
      const element = h("li", {}, h("h3", {}, TITLES[name]), after, text);
      place("stages").append(element);
      return [name, { element, after, text }];
    }),
  );

  async function strike(name) {
    const seen = await call("faults", "POST", "/v1/faults", { fault: name });
    looks = [];
    runs = [];
    take(seen);
    lookSoon();
    place("watch-title").scrollIntoView({ block: "nearest" });
  }

  function take({ faults, current }) {
    for (const { name, refused } of faults) {
      const shown = buttons.find((each) => each.name === name);
      setAttr(shown.button, "aria-disabled", refused ? "true" : null);
      setText(shown.about, refused ?? shown.what);
    }
    if (current?.at !== broken?.at) reached = null;
    const kept = stored(current);
    broken = current !== null && (kept || isFresh(current)) ? current : null;
    const before = reached ?? kept;
    reached = broken && keptStages(before, stagesOf(broken, looks, runs));
    place("watch").hidden = broken === null;
    if (broken !== null) show(before);
  }

  /** Whether this page sees all that follows: not if the fault is older than the page and over. */
  const isFresh = ({ at, is_over: isOver }) => !isOver || Date.parse(at) > opened - PROOF_MS;

  function show(before) {
    const since = Date.parse(broken.at);
    store();
    setText(place("watch-title"), FAULTS[broken.fault][0]);
    showDone(broken.steps);
    const waiting = wasMissed() ? null : STAGES.find((name) => reached[name] === null);
    for (const name of STAGES) {
      const { element, after, text } = stages[name];
      const stage = reached[name];
      setAttr(element, "data-level", stage ? "quiet" : name === waiting ? "busy" : "unknown");
      setAttr(element, "data-reached", stage ? "" : null);
      setText(after, stage ? `after ${span((stage.at - since) / 1000)}` : name === waiting ? "waiting …" : "–");
      setText(text, stage?.text ?? "");
      if (stage && !before?.[name]) announce(`${TITLES[name]} after ${span((stage.at - since) / 1000)}: ${stage.text}`);
    }
    place("start-again").hidden = broken.back_at === null;
    const [, why] = REPAIRS[broken.fault] ?? [];
    const needsRepair = Boolean(why && reached.named && !reached.repaired);
    place("repair-now").hidden = !needsRepair;
    setText(place("watch-hint"), hintOf(needsRepair && why));
    if (reached.proved) remember(since);
    tick();
  }

  const wasMissed = () => broken.is_over && !broken.users.length && !reached.noticed;

  function hintOf(why) {
    if (broken.back_at !== null) return `It starts again by itself at ${clock(broken.back_at)}.`;
    if (why) return why;
    if (reached.proved) return "Both tables are equal again, and the source agrees.";
    if (wasMissed()) return "It was back before this page saw the status miss it; a consumer counts as gone after 20 seconds.";
    return broken.users.length || reached.repaired ? "A proof is made every 15 seconds." : "";
  }

  function tick() {
    const end = reached.proved?.at ?? (wasMissed() ? Date.parse(broken.steps.at(-1).at) : Date.now());
    const seconds = Math.max(0, (end - Date.parse(broken.at)) / 1000);
    setText(place("elapsed"), `${seconds.toFixed(1)} s`);
    setAttr(place("watch"), "data-level", reached.proved || wasMissed() ? "quiet" : "broken");
  }

  // Storage may be blocked; then a reloaded page shows only what it sees from there on.
  function stored(current) {
    try {
      const kept = JSON.parse(sessionStorage.getItem(KEPT));
      return kept?.at === current?.at ? kept?.reached : null;
    } catch {
      return null;
    }
  }

  function store() {
    try {
      sessionStorage.setItem(KEPT, JSON.stringify({ at: broken.at, reached }));
    } catch {
      // as above
    }
  }

  /** Keep the times of a fault that is proved to be over. */
  function remember(since) {
    if (past[0]?.at === broken.at) return;
    past = [{ at: broken.at, fault: broken.fault, after: STAGES.map((name) => (reached[name].at - since) / 1000) }, ...past].slice(0, PAST_MAX);
    place("past").hidden = false;
    place("past-rows").replaceChildren(
      ...past.map(({ fault, after }) => h("tr", {}, h("th", { scope: "row" }, FAULTS[fault][0]), after.map((seconds) => h("td", { class: "number" }, span(seconds))))),
    );
  }

  /** Read the comparisons since the fault, with the users that they name. */
  async function runsSince({ users, at: since }, stop) {
    if (!users.length) return [];
    const { items } = await call("blog", "GET", `/v1/sync/reconcile?limit=${RUNS_READ}`, undefined, { signal: stop });
    const isNew = ({ id, state, finished_at: at }) => state === "ended" && Date.parse(at) >= Date.parse(since) && !runs.some((run) => run.id === id);
    return Promise.all(items.filter(isNew).map(({ id }) => call("blog", "GET", `/v1/sync/reconcile/${id}`, undefined, { signal: stop })));
  }

  const lookSoon = poll(
    async (stop) => {
      const seen = await call("faults", "GET", "/v1/faults", undefined, { signal: stop });
      if (!seen.current) return { seen };
      const get = (service, path) => call(service, "GET", path, undefined, { signal: stop });
      const [near, far, more] = await Promise.all([get("auth", "/v1/admin/status"), get("blog", "/v1/sync/status"), runsSince(seen.current, stop)]);
      return { seen, look: { at: Date.now(), near, far }, more };
    },
    {
      every: () => LOOK_MS,
      signal,
      onData({ seen, look, more = [] }) {
        setMessage(place("break-problem"), "");
        const byTime = (one, other) => Date.parse(one.finished_at) - Date.parse(other.finished_at);
        runs = [...runs, ...more.filter(({ id }) => !runs.some((run) => run.id === id))].sort(byTime);
        if (look) looks = [...looks, look].slice(-LOOKS_MAX);
        take(seen);
      },
      onError: (error) => setMessage(place("break-problem"), sentence(error)),
    },
  );

  place("start-again").addEventListener("click", ({ currentTarget }) =>
    runWithButton(currentTarget, place("break-problem"), async () => take(await call("faults", "POST", "/v1/faults/end")), signal),
  );
  place("repair-now").addEventListener("click", ({ currentTarget }) =>
    runWithButton(currentTarget, place("break-problem"), () => call("blog", "POST", "/v1/sync/reconcile", REPAIRS[broken.fault][0]), signal),
  );
  const ticking = setInterval(() => broken && tick(), TICK_MS);
  signal.addEventListener("abort", () => clearInterval(ticking));
});
