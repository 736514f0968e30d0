// Who may see the console, and its top: one line that says what is wrong, the picture, the charts.
//
// Guarantees: nothing is shown to anybody without the role, and everything is taken away from who
// has lost it. That is for the eyes: it is the services that refuse.

import { h } from "/web/dom.js";
import { call, restore, session, signIn, signOut } from "/web/session.js";
import { chart, silences } from "./chart.js";
import { apart, HEARTBEAT_SECONDS_MAX, stations, troubles } from "./health.js";
import { picture, SHAPES, WORDS } from "./diagram.js";
import { poll } from "./poll.js";
import { parkedPanel } from "./parked.js";
import { keyed, put, set, tell } from "./render.js";
import { reconcilePanel } from "./reconcile.js";
import { replayPanel } from "./replay.js";
import { clock, count, many, sentence, setClock, span } from "./phrases.js";

const ROLE = "operator";
const STATUS_MS = 2_000;
const SAMPLES_MS = { 60: 5_000, 360: 15_000, 1440: 30_000 };
const TICK_MS = 1_000;
const RETRY_MS = 4_000;
const ROWS_MAX = 24;

const main = document.getElementById("main");
const place = (id) => document.getElementById(id);
let open = null; // ends the console that is open

const WHY = {
  ended: "Your session has ended. Sign in again.",
  disabled: "An administrator has disabled this account.",
  deleted: "This account was deleted.",
  elsewhere: "You signed out in another tab.",
  "signed-out": "You are signed out.",
};

function show(template) {
  open?.abort();
  open = null;
  for (const id of ["state", "sections"]) place(id).hidden = true;
  document.title = "Console";
  main.replaceChildren(place(template).content.cloneNode(true));
  place("who").hidden = !session.user;
  put(place("who-email"), session.user?.email ?? "");
  main.focus({ preventScroll: true });
}

function openEntrance(why = "") {
  show("entrance");
  tell(place("why"), why);
  place("why").hidden = !why;
  place("sign-in").addEventListener("submit", async (event) => {
    event.preventDefault();
    const form = event.currentTarget;
    const button = form.querySelector("button");
    if (button.getAttribute("aria-disabled") === "true") return;
    button.setAttribute("aria-disabled", "true");
    try {
      const values = new FormData(form);
      await signIn(values.get("email"), values.get("password"));
    } catch (error) {
      tell(place("why"), sentence(error));
      button.removeAttribute("aria-disabled");
      place("password").select();
    }
  });
  place("email").focus();
}

function openRefusal(text) {
  show("refusal");
  put(place("refused"), text);
  place("other-account").addEventListener("click", leave);
}

async function leave() {
  try {
    await signOut();
  } catch {
    // signed out here in any case
  }
}

function openConsole() {
  show("console");
  open = new AbortController();
  const { signal } = open;
  for (const id of ["state", "sections"]) place(id).hidden = false;

  const told = { near: { figures: null, at: null, error: null }, far: { figures: null, at: null, error: null }, runs: [], replays: [], apartSince: null };
  const draw = picture(place("picture"), signal);
  const showHeadline = headlineShown();

  /** Ask as an operator; whoever is none any more is shown out. */
  async function asOperator(...question) {
    try {
      return await call(...question);
    } catch (error) {
      if (error.code === "forbidden" && !signal.aborted) {
        openRefusal("You are not an operator any more, so the console has closed. An administrator gives the role.");
      }
      throw error;
    }
  }

  const isHeard = ({ figures, error }) => figures !== null || error !== null;

  function refresh() {
    if (!isHeard(told.near) || !isHeard(told.far)) return;
    told.apartSince = apart(told) ? (told.apartSince ?? Date.now()) : null;
    showHeadline(troubles(told));
    showParked(told.far);
    draw({ stations: stations(told), near: seen(told.near), far: seen(told.far) });
  }

  function follow(end, service, path) {
    return poll((stop) => asOperator(service, "GET", path, undefined, { signal: stop }), {
      every: () => STATUS_MS,
      signal,
      heard(figures) {
        told[end] = { figures, at: Date.now(), error: null };
        refresh();
      },
      missed(error) {
        told[end] = { ...told[end], error };
        refresh();
      },
    });
  }

  follow("near", "auth", "/v1/admin/status");
  follow("far", "blog", "/v1/sync/status");
  const ticking = setInterval(refresh, TICK_MS);
  signal.addEventListener("abort", () => clearInterval(ticking));

  const shared = { call: asOperator, signal, missed: refresh };
  reconcilePanel({ ...shared, consumers: () => told.far.figures?.consumers, heard: (runs) => { told.runs = runs; refresh(); } });
  replayPanel({ ...shared, heard: (replays) => { told.replays = replays; refresh(); }, missed: (error) => tell(place("replay-problem"), sentence(error)) });
  parkedPanel(shared);
  charts(asOperator, signal);
}

function seen({ figures, at, error }) {
  if (!error) return { isAway: false, said: "" };
  if (!figures) return { isAway: true, said: "does not answer" };
  return { isAway: true, said: `does not answer; as of ${clock(new Date(at).toISOString())}` };
}

/** The top of the console; what it says is read out when it says something else, not at each tick. */
function headlineShown() {
  const element = place("headline");
  const shape = element.querySelector(".shape path");
  const link = element.querySelector("h1 a");
  const remedy = element.querySelector(".remedy");
  const also = keyed(element.querySelector(".also"), unnumbered, ({ at }) => {
    const text = h("a", { href: `#${at}` });
    const item = h("li", {}, text);
    return {
      element: item,
      update({ level, line }) {
        set(item, "data-level", level);
        put(text, line);
      },
    };
  });
  let announced = "";

  return ([worst, ...others]) => {
    set(element, "data-level", worst.level);
    set(shape, "d", SHAPES[worst.level]);
    put(link, worst.line);
    set(link, "href", worst.at === "pipe" ? null : `#${worst.at}`);
    put(remedy, worst.remedy);
    also(others);
    const state = place("state");
    set(state, "data-level", worst.level);
    put(state, WORDS[worst.level]);
    document.title = `${WORDS[worst.level]} – console`;
    if (announced !== unnumbered(worst)) {
      announced = unnumbered(worst);
      put(place("announcer"), `${WORDS[worst.level]}. ${worst.line}`);
    }
  };
}

/** The same trouble has the same words, whatever its numbers and ages are by now. */
const unnumbered = ({ level, at, line }) => `${level} ${at} ${line.replace(/\d[\d.,]* ?(ms|s|min|h|d)?\b/g, "")}`;

function showParked({ figures }) {
  const number = figures?.parked_messages ?? 0;
  place("parked-badge").hidden = number === 0;
  put(place("parked-badge"), count(number));
}

function charts(ask, signal) {
  const read = (point) =>
    [
      point.latency_seconds === null ? "nothing arrived" : `worst lag ${span(point.latency_seconds)}`,
      point.queue_depth === null ? "no broker" : `${count(point.queue_depth)} waiting`,
      `${count(point.applied)} applied`,
      many(point.consumers, "consumer"),
    ].join(", ");
  const lag = chart(place("lag"), { title: "Lag, from the record to the replica", unit: "seconds", value: (point) => point.latency_seconds, least: 0.02, read, empty: "nothing arrived", fresh: HEARTBEAT_SECONDS_MAX }, signal);
  const depth = chart(place("depth"), { title: "Messages waiting in the queue", unit: "count", value: (point) => point.queue_depth, least: 5, read, empty: "not known", fresh: 0 }, signal);
  const table = place("samples-table");
  let minutes = 60;
  let series = null;

  function showTable() {
    if (table.open && series) table.querySelector(".scroll").replaceChildren(tableOf(series));
  }

  const soon = poll((stop) => ask("blog", "GET", `/v1/sync/samples?minutes=${minutes}`, undefined, { signal: stop }), {
    every: () => SAMPLES_MS[minutes],
    signal,
    heard(answer) {
      setClock(answer.until);
      if (answer.minutes !== minutes) return;
      series = answer;
      tell(place("samples-problem"), "");
      lag.show(series);
      depth.show(series);
      showTable();
    },
    missed(error) {
      tell(place("samples-problem"), `${sentence(error)} The charts end where they were.`);
    },
  });

  place("span").addEventListener("change", ({ target }) => {
    minutes = Number(target.value);
    soon();
  });
  place("logarithmic").addEventListener("change", ({ target }) => lag.setLogarithmic(target.checked));
  table.addEventListener("toggle", showTable);
}

/** The series in a few rows, newest first, each with the worst of its time. */
function tableOf({ minutes, bucket_seconds: bucket, items, until, since }) {
  const to = Date.parse(until);
  const stretch = (minutes * 60_000) / ROWS_MAX;
  const worst = (values) => (values.length ? Math.max(...values) : null);
  const known = (points, name) => points.map((point) => point[name]).filter((value) => value !== null);
  const silent = silences(items.map((item) => ({ ms: Date.parse(item.at) + bucket * 500 })), bucket, to - minutes * 60_000, to, since);
  const rows = [];
  for (let index = 0; index < ROWS_MAX; index += 1) {
    const [begin, end] = [to - (index + 1) * stretch, to - index * stretch];
    const points = items.filter(({ at }) => Date.parse(at) >= begin && Date.parse(at) < end);
    const last = rows.at(-1);
    // What is empty takes one row, however long it was.
    if (!points.length && last && !last.points.length) last.begin = begin;
    else if (points.length || (since !== null && end > Date.parse(since))) rows.push({ begin, end, points });
  }
  const cells = ({ begin, end, points }) => {
    const latency = worst(known(points, "latency_seconds"));
    const depth = worst(known(points, "queue_depth"));
    const isSilent = silent.some(([from, till]) => from < end && till > begin);
    return h(
      "tr",
      {},
      h("th", { scope: "row" }, `${clock(begin)} to ${clock(end)}`),
      h("td", { class: "number" }, latency === null ? "–" : span(latency)),
      h("td", { class: "number" }, depth === null ? "–" : count(depth)),
      h("td", { class: "number" }, points.length ? count(points.reduce((all, point) => all + point.applied, 0)) : "–"),
      h("td", {}, !points.length ? "none" : isSilent ? "not all the time" : "alive"),
    );
  };
  const head = ["When", "Worst lag", "Deepest queue", "Applied", "Consumer"].map((title, index) => h("th", { scope: "col", class: index > 0 && index < 4 ? "number" : "" }, title));
  return h("table", {}, h("thead", {}, h("tr", {}, head)), h("tbody", {}, rows.map(cells)));
}

function enter() {
  if (session.user.roles.includes(ROLE)) openConsole();
  else openRefusal(`${session.user.email} is no operator. An administrator gives the role; then sign in again.`);
}

session.addEventListener("change", ({ detail }) => {
  if (!session.user) openEntrance(WHY[detail]);
  else if (!open || !session.user.roles.includes(ROLE)) enter();
});
place("sign-out").addEventListener("click", leave);

async function begin() {
  try {
    if (!(await restore())) openEntrance();
  } catch (error) {
    openEntrance(`${sentence(error)} Nobody can sign in until it does; this page tries again. On the command line: blog-service status.`);
    setTimeout(() => session.user || begin(), RETRY_MS);
  }
}

begin();
