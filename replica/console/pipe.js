// The page of the pipe: the headline that says what is wrong, the diagram, the charts and the actions.

import { h } from "/web/dom.js";
import { chart, silences } from "./chart.js";
import { announce, openPage } from "./frame.js";
import { apart, HEARTBEAT_SECONDS_MAX, stations, troubles } from "./health.js";
import { diagram, SHAPES, WORDS } from "./diagram.js";
import { poll } from "./poll.js";
import { parkedPanel } from "./parked.js";
import { appliedNow, meter } from "./rates.js";
import { keyedList, setText, setAttr, setMessage } from "./render.js";
import { reconcilePanel } from "./reconcile.js";
import { replayPanel } from "./replay.js";
import { capital, clock, count, many, perSecond, sentence, setClock, span } from "./phrases.js";

const STATUS_MS = 2_000;
const SAMPLES_MS = { 60: 5_000, 360: 15_000, 1440: 30_000 };
const TICK_MS = 1_000;
const ROWS_MAX = 24;

const place = (id) => document.getElementById(id);

function openPipe({ call, signal }) {
  place("state").hidden = false;
  const published = meter();
  const system = { rates: { published: null, applied: null }, near: { figures: null, at: null, error: null }, far: { figures: null, at: null, error: null }, runs: [], replays: [], apartSince: null };
  const draw = diagram(place("picture"), signal);
  const showHeadline = headlineView();

  const isKnown = ({ figures, error }) => figures !== null || error !== null;

  function refresh() {
    if (!isKnown(system.near) || !isKnown(system.far)) return;
    system.apartSince = apart(system) ? (system.apartSince ?? Date.now()) : null;
    showHeadline(troubles(system));
    showParked(system.far);
    showAgreement(system.far);
    draw({ stations: stations(system), near: availability(system.near), far: availability(system.far) });
  }

  function follow(end, service, path, read = () => {}) {
    return poll((stop) => call(service, "GET", path, undefined, { signal: stop }), {
      every: () => STATUS_MS,
      signal,
      onData(figures) {
        system[end] = { figures, at: Date.now(), error: null };
        read(figures);
        refresh();
      },
      onError(error) {
        system[end] = { ...system[end], error };
        refresh();
      },
    });
  }

  follow("near", "auth", "/v1/admin/status", ({ position, unpublished }) => {
    system.rates.published = published((position ?? 0) - unpublished, performance.now());
  });
  follow("far", "blog", "/v1/sync/status");
  const ticking = setInterval(refresh, TICK_MS);
  signal.addEventListener("abort", () => clearInterval(ticking));

  const shared = { call, signal, onError: refresh };
  reconcilePanel({ ...shared, consumers: () => system.far.figures?.consumers, onData: (runs) => { system.runs = runs; refresh(); } });
  replayPanel({ ...shared, onData: (replays) => { system.replays = replays; refresh(); }, onError: (error) => setMessage(place("replay-problem"), sentence(error)) });
  parkedPanel(shared);
  charts(call, signal, (series) => {
    system.rates.applied = appliedNow(series);
    refresh();
  });
}

function availability({ figures, at, error }) {
  if (!error) return { isAway: false, note: "" };
  if (!figures) return { isAway: true, note: "not responding" };
  return { isAway: true, note: `not responding; as of ${clock(new Date(at).toISOString())}` };
}

/** Return the function that shows the headline; it is announced only when its words change. */
function headlineView() {
  const element = place("headline");
  const shape = element.querySelector(".shape path");
  const link = element.querySelector("h1 a");
  const remedy = element.querySelector(".remedy");
  const also = keyedList(element.querySelector(".also"), unnumbered, ({ at }) => {
    const text = h("a", { href: `#${at}` });
    const item = h("li", {}, text);
    return {
      element: item,
      update({ level, line }) {
        setAttr(item, "data-level", level);
        setText(text, line);
      },
    };
  });
  let announced = "";

  return ([worst, ...others]) => {
    setAttr(element, "data-level", worst.level);
    setAttr(shape, "d", SHAPES[worst.level]);
    setText(link, worst.line);
    setAttr(link, "href", worst.at === "pipe" ? null : `#${worst.at}`);
    setText(remedy, worst.remedy);
    also(others);
    const state = place("state");
    setAttr(state, "data-level", worst.level);
    setText(state, WORDS[worst.level]);
    document.title = `${WORDS[worst.level]} – console`;
    if (announced !== unnumbered(worst)) {
      announced = unnumbered(worst);
      announce(`${WORDS[worst.level]}. ${worst.line}`);
    }
  };
}

/** Return the words of a problem without numbers and ages, which identify it over time. */
const unnumbered = ({ level, at, line }) => `${level} ${at} ${line.replace(/\d[\d.,]* ?(ms|s|min|h|d)?\b/g, "")}`;

/** Show the share of time in which the replica was proved equal, as of the last figures. */
function showAgreement({ figures }) {
  setMessage(place("agreement"), figures && capital(figures.agreement.text));
}

function showParked({ figures }) {
  const number = figures?.parked_messages ?? 0;
  place("parked-badge").hidden = number === 0;
  setText(place("parked-badge"), count(number));
}

/** Draw the charts, and pass on each series that is read. */
function charts(request, signal, onSeries) {
  const read = (point) =>
    [
      point.latency_seconds === null ? "nothing arrived" : `worst lag ${span(point.latency_seconds)}`,
      point.queue_depth === null ? "no broker" : `${count(point.queue_depth)} waiting`,
      `${count(point.applied)} applied (${perSecond(point.applied / bucket())})`,
      many(point.consumers, "consumer"),
    ].join(", ");
  const lag = chart(place("lag"), { title: "Lag, from the outbox to the replica", unit: "seconds", value: (point) => point.latency_seconds, least: 0.02, read, empty: "nothing arrived", fresh: HEARTBEAT_SECONDS_MAX }, signal);
  const depth = chart(place("depth"), { title: "Messages waiting in the queue", unit: "count", value: (point) => point.queue_depth, least: 5, read, empty: "unknown", fresh: 0 }, signal);
  const applied = chart(place("applied"), { title: "Messages applied a second", unit: "count", value: (point) => point.applied / bucket(), least: 1, read, empty: "nothing arrived", fresh: 0, peak: "most" }, signal);
  const table = place("samples-table");
  let minutes = 60;
  let series = null;
  const bucket = () => series.bucket_seconds;

  function showTable() {
    if (table.open && series) table.querySelector(".scroll").replaceChildren(tableOf(series));
  }

  const soon = poll((stop) => request("blog", "GET", `/v1/sync/samples?minutes=${minutes}`, undefined, { signal: stop }), {
    every: () => SAMPLES_MS[minutes],
    signal,
    onData(found) {
      setClock(found.until);
      onSeries(found);
      if (found.minutes !== minutes) return;
      series = found;
      setMessage(place("samples-problem"), "");
      lag.show(series);
      depth.show(series);
      applied.show(series);
      showTable();
    },
    onError(error) {
      setMessage(place("samples-problem"), `${sentence(error)} The charts are not up to date.`);
    },
  });

  place("span").addEventListener("change", ({ target }) => {
    minutes = Number(target.value);
    soon();
  });
  place("logarithmic").addEventListener("change", ({ target }) => lag.setLogarithmic(target.checked));
  table.addEventListener("toggle", showTable);
}

/** Build a table of the series, newest first; each row has the worst values of its interval. */
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
    // One row for an empty stretch of any length.
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
      h("td", {}, !points.length ? "none" : isSilent ? "alive at times" : "alive"),
    );
  };
  const head = ["When", "Worst lag", "Deepest queue", "Applied", "Consumer"].map((title, index) => h("th", { scope: "col", class: index > 0 && index < 4 ? "number" : "" }, title));
  return h("table", {}, h("thead", {}, h("tr", {}, head)), h("tbody", {}, rows.map(cells)));
}

openPage(openPipe);
