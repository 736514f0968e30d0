// The page of live events: what both services do with them, as it happens.
//
// Guarantees: nothing is requested while the tab is hidden or the page is paused; what happened
// meanwhile follows, as far as the services still know it. The table has a limited number of rows.
// Screen readers are told when lines come and when they do not, and are not flooded with lines.

import { h } from "/web/dom.js";
import { openPage } from "./frame.js";
import { userLink } from "./links.js";
import { keyedList, setMessage, setText } from "./render.js";
import { count, sentence, span } from "./phrases.js";
import { follow } from "./tail.js";

const ROWS_MAX = 200;
const SHOW_EVERY_MS = 250; // lines come in batches; drawing each by itself would only cost
const TYPING_MS = 400;
const ID = /^[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}$/i;

const TAILS = {
  auth: { path: "/v1/admin/events/tail", name: "auth" },
  blog: { path: "/v1/sync/events/tail", name: "blog" },
};

const place = (id) => document.getElementById(id);

function openEvents({ call, signal }) {
  const form = place("events-filter");
  const show = keyedList(place("events"), keyOf, row);
  let rows = [];
  let coming = [];
  let leftOut = 0;
  let isPaused = false;
  let running = null; // ends the tails that are followed
  let marks = {}; // by service: where to continue
  const states = {};

  function start() {
    stop();
    if (isPaused || document.hidden || signal.aborted) return state();
    const wanted = filter();
    if (wanted === null) return state();
    running = new AbortController();
    const stopped = AbortSignal.any([signal, running.signal]);
    for (const [service, { path }] of Object.entries(TAILS)) {
      delete states[service];
      if (wanted.service && wanted.service !== service) continue;
      states[service] = "connecting";
      const last = follow(call, service, `${path}?${wanted.query}`, {
        after: marks[service],
        signal: stopped,
        onLine: (line) => coming.push({ ...line, service }),
        onLeftOut(number) {
          leftOut += number;
        },
        onOpen() {
          states[service] = "open";
          state();
        },
        onError(error) {
          states[service] = error;
          state();
        },
      });
      running.signal.addEventListener("abort", () => {
        marks[service] = last();
      });
    }
    return state();
  }

  function stop() {
    running?.abort();
    running = null;
  }

  /** Begin again with other conditions; null stands for conditions that cannot be. */
  function restart() {
    stop(); // which notes where to continue
    marks = {};
    clear();
    start();
  }

  function filter() {
    const { service, type, user } = Object.fromEntries(new FormData(form));
    const id = user.trim();
    const isId = !id || ID.test(id);
    form.elements.user.setAttribute("aria-invalid", String(!isId));
    if (!isId) return null;
    const query = new URLSearchParams();
    if (type) query.set("type", type);
    if (id) query.set("user", id);
    return { service, query };
  }

  function state() {
    const all = Object.values(states);
    const errors = all.filter((each) => each instanceof Error);
    setMessage(place("events-problem"), running ? errors.map(sentence).join(" ") : "");
    const words = isPaused
      ? "Paused."
      : !running
        ? "Type the whole id of a user."
        : all.every((each) => each === "open")
          ? "Lines appear as things happen."
          : errors.length
            ? "Trying again."
            : "Connecting …";
    setText(place("events-state"), words);
    setText(place("events-pause"), isPaused ? "Continue" : "Pause");
  }

  function clear() {
    rows = [];
    coming = [];
    leftOut = 0;
    draw();
  }

  function draw() {
    if (coming.length) {
      const known = new Set(rows.map(keyOf));
      const found = coming.filter((line) => !known.has(keyOf(line)) && known.add(keyOf(line)));
      coming = [];
      rows = [...rows, ...found].sort((one, other) => (one.at < other.at ? 1 : -1)).slice(0, ROWS_MAX);
    }
    show(rows);
    place("events-empty").hidden = rows.length > 0;
    setMessage(place("events-left-out"), leftOut && `${count(leftOut)} lines left out, because too many came at once. Choose a type or a user to see all of theirs.`);
  }

  const drawing = setInterval(draw, SHOW_EVERY_MS);
  signal.addEventListener("abort", () => clearInterval(drawing));

  /** Show the events of the user whose id is in the address. */
  function showNamed() {
    form.elements.user.value = location.hash.slice(1);
    restart();
  }
  addEventListener("hashchange", showNamed, { signal });

  let typing = 0;
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("change", restart);
  form.elements.user.addEventListener("input", () => {
    clearTimeout(typing);
    typing = setTimeout(restart, TYPING_MS);
  });
  place("events-clear").addEventListener("click", clear);
  place("events-pause").addEventListener("click", () => {
    isPaused = !isPaused;
    start();
  });
  document.addEventListener("visibilitychange", start, { signal });
  showNamed();
}

/** What a line has in common with its repetition after an interruption. */
const keyOf = ({ service, stage, event_id: event, at }) => [service, stage, event, at].join(" ");

const AMISS = ["parked", "set_aside"];

/** Build the row of a line, which never changes. */
function row(line) {
  const stage = line.stage.replaceAll("_", " ") + (line.lane && line.lane !== "live" ? `, ${line.lane}` : "");
  const cells = [
    h("td", {}, h("time", { datetime: line.at }, line.at.slice(11, 23))),
    h("td", {}, TAILS[line.service].name),
    h("td", { class: AMISS.includes(line.stage) ? "amiss" : "" }, stage),
    h("td", {}, line.type ?? "unknown"),
    h("td", { class: "number" }, line.stage === "recorded" || line.lag_seconds === null ? "–" : span(Math.max(0, line.lag_seconds))),
    h("td", {}, line.user_id ? userLink(line.user_id) : "–"),
    h("td", { class: "number" }, line.version ? String(line.version) : "–"),
    h("td", {}, line.event_id ? h("code", {}, line.event_id) : "–"),
  ];
  return { element: h("tr", {}, cells), update() {} };
}

openPage(openEvents);
