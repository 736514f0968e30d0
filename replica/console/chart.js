// A line chart over time, in SVG: readable axes, visible gaps, and a cursor for mouse and keyboard.

import { h } from "/web/dom.js";
import { s, setAttr, setText } from "./render.js";
import { clock, count, now, short, span } from "./phrases.js";

const HEIGHT = 208;
const EDGE = { top: 14, right: 20, bottom: 26, left: 58 };
const TICKS = 4;
const SILENT_SECONDS = 25; // a consumer counts as alive for 20 s after its last sample; some slack
const HEARTBEAT_SECONDS = 45; // values more than three heartbeats apart are not joined

const MS = [1, 2, 5, 10, 20, 50, 100, 200, 500].map((ms) => ms / 1000);
const STEPS = {
  seconds: [...MS, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 18000, 36000, 86400],
  count: Array.from({ length: 10 }, (_, power) => [1, 2, 5].map((n) => n * 10 ** power)).flat(),
};
const LOG_TICKS = { seconds: [0.001, 0.01, 0.1, 1, 10, 60, 600, 3600, 36000], count: [1, 10, 100, 1000, 1e4, 1e5, 1e6] };
const SAY = { seconds: span, count };
const SAY_SHORT = { seconds: span, count: short };

/**
 * Draw a chart in `place`. `unit` is "seconds" or "count"; `value(point)` is null where unknown;
 * `least` is the minimum of the axis' upper end; `read(point)` describes a point in words; `fresh`
 * is for how many seconds a value counts as current, 0 if only the newest does; `peak` is the word
 * for the highest value.
 * Returns {show(series), setLogarithmic(is)}; a series is {minutes, bucket_seconds, since, items}.
 */
export function chart(place, { title, unit, value, least, read, empty, fresh, peak = "worst" }, signal) {
  const heading = h("h3", {}, title);
  const readout = h("p", { class: "readout" });
  const area = s("path", { class: "under" });
  const line = s("path", { class: "curve" });
  const dots = s("path", { class: "dots" });
  const gaps = s("g", { class: "gaps" });
  const axes = s("g", { class: "axes" });
  const cursor = s("g", { class: "cursor", visibility: "hidden" }, s("path", { d: "" }), s("circle", { r: 4 }));
  const id = `hatch-${place.id}`;
  const hatch = s("pattern", { id, width: 7, height: 7, patternUnits: "userSpaceOnUse", patternTransform: "rotate(45)" }, s("path", { d: "M0 0V7", class: "hatch" }));
  const svg = s("svg", { class: "chart", height: HEIGHT, tabindex: 0, role: "img", "aria-roledescription": "chart" }, s("defs", {}, hatch), axes, area, line, dots, gaps, cursor);
  place.replaceChildren(heading, readout, svg);

  let series = null;
  let isLogarithmic = false;
  let at = null; // the index of the point under the cursor
  let scale = null;

  function show() {
    if (!series) return;
    const width = Math.max(280, place.clientWidth);
    setAttr(svg, "width", width);
    setAttr(svg, "viewBox", `0 0 ${width} ${HEIGHT}`);
    const points = series.items.map((item) => ({ ...item, ms: Date.parse(item.at) + series.bucket_seconds * 500, value: value(item) }));
    const to = now();
    const from = to - series.minutes * 60_000;
    scale = scales({ points, from, to, width, unit, least, isLogarithmic });
    scale.points = points.filter(({ ms }) => ms >= from);
    const silent = silences(scale.points, series.bucket_seconds, from, to, series.since);
    drawGaps(silent);
    drawAxes(from, to, width);
    drawCurve(silent);
    setText(heading, isLogarithmic ? `${title}, logarithmic` : title);
    setAttr(svg, "aria-label", summary(silent));
    if (at !== null) point(Math.min(at, scale.points.length - 1));
    else rest();
  }

  function drawGaps(silent) {
    const { x, top, bottom } = scale;
    gaps.replaceChildren(
      ...silent.flatMap(([begin, end]) => {
        const [left, right] = [x(begin), x(end)];
        const band = s("rect", { x: left, y: top, width: Math.max(2, right - left), height: bottom - top, fill: `url(#${id})`, class: "gap" });
        if (right - left < 84) return [band];
        return [band, s("text", { x: (left + right) / 2, y: (top + bottom) / 2 + 4, "text-anchor": "middle", class: "gap-label" }, "no consumer")];
      }),
    );
  }

  function drawAxes(from, to, width) {
    const { x, y, top, bottom, left, right, ticks } = scale;
    const across = ticks.map((tick) => s("g", {}, s("path", { d: `M${left} ${y(tick)}H${right}`, class: tick ? "grid" : "base" }), s("text", { x: left - 8, y: y(tick) + 4, "text-anchor": "end" }, tick === 0 ? "0" : SAY_SHORT[unit](tick))));
    const along = times(from, to, width).map((ms) => s("g", {}, s("path", { d: `M${x(ms)} ${bottom}v5`, class: "base" }), s("text", { x: x(ms), y: bottom + 19, "text-anchor": "middle" }, clock(ms, { seconds: false }).slice(-5))));
    axes.replaceChildren(...across, ...along, s("path", { d: `M${left} ${bottom}H${right}`, class: "base" }), s("path", { d: `M${left} ${top}V${bottom}`, class: "base" }));
  }

  function drawCurve(silent) {
    const { x, y, bottom, points } = scale;
    const joined = runs(points, series.bucket_seconds, silent);
    const path = (run) => run.map(({ ms, value: v }, index) => `${index ? "L" : "M"}${x(ms).toFixed(1)} ${y(v).toFixed(1)}`).join("");
    setAttr(line, "d", joined.filter((run) => run.length > 1).map(path).join(""));
    setAttr(area, "d", joined.filter((run) => run.length > 1).map((run) => `${path(run)}L${x(run.at(-1).ms).toFixed(1)} ${bottom}L${x(run[0].ms).toFixed(1)} ${bottom}Z`).join(""));
    setAttr(dots, "d", joined.filter((run) => run.length === 1).map(([{ ms, value: v }]) => `M${x(ms).toFixed(1)} ${y(v).toFixed(1)}h0`).join(""));
  }

  function summary(silent) {
    const known = scale.points.filter((each) => each.value !== null);
    if (!known.length) return `${title}: ${empty}`;
    const highest = known.reduce((one, other) => (other.value > one.value ? other : one));
    const gone = silent.length ? `; ${silent.length} ${silent.length === 1 ? "period" : "periods"} without a consumer` : "";
    const present = presentValue();
    return `${title}: now ${present === null ? "unknown" : SAY[unit](present)}, ${peak} ${SAY[unit](highest.value)} at ${clock(highest.ms)}${gone}. Use the arrow keys to read single points.`;
  }

  /** Return the current value; null without a broker, a consumer or a recent arrival. */
  function presentValue() {
    const newest = fresh ? scale.points.findLast((each) => each.value !== null) : scale.points.at(-1);
    const seconds = Math.max(fresh, SILENT_SECONDS) + series.bucket_seconds;
    return newest && now() - newest.ms <= seconds * 1000 ? newest.value : null;
  }

  // Screen readers announce the point under the cursor, but no automatic changes.
  function rest() {
    setAttr(readout, "aria-live", "off");
    cursor.setAttribute("visibility", "hidden");
    const known = scale.points.filter((each) => each.value !== null);
    if (!known.length) return setText(readout, empty);
    const highest = known.reduce((one, other) => (other.value > one.value ? other : one));
    const present = presentValue();
    setText(readout, `now ${present === null ? "unknown" : SAY[unit](present)}, ${peak} ${SAY[unit](highest.value)} at ${clock(highest.ms, { seconds: false })}`);
  }

  function point(index) {
    const found = scale.points[index];
    if (!found) return;
    at = index;
    setAttr(readout, "aria-live", "polite");
    const { x, y, top, bottom } = scale;
    cursor.setAttribute("visibility", "visible");
    setAttr(cursor.firstChild, "d", `M${x(found.ms)} ${top}V${bottom}`);
    setAttr(cursor.lastChild, "cx", x(found.ms));
    setAttr(cursor.lastChild, "cy", y(found.value ?? 0));
    setAttr(cursor.lastChild, "visibility", found.value === null ? "hidden" : "inherit");
    setText(readout, `${clock(found.at)}: ${read(found)}`);
  }

  function leave() {
    at = null;
    if (scale) rest();
  }

  svg.addEventListener("pointermove", ({ offsetX }) => {
    if (!scale?.points.length) return;
    const distance = ({ ms }) => Math.abs(scale.x(ms) - offsetX);
    point(scale.points.reduce((best, each, index) => (distance(each) < distance(scale.points[best]) ? index : best), 0));
  });
  svg.addEventListener("pointerleave", leave);
  svg.addEventListener("blur", leave);
  svg.addEventListener("keydown", (event) => {
    const last = (scale?.points.length ?? 0) - 1;
    const moves = { ArrowLeft: (at ?? last + 1) - 1, ArrowRight: (at ?? last) + 1, Home: 0, End: last };
    if (event.key === "Escape") leave();
    if (!(event.key in moves) || last < 0) return;
    event.preventDefault();
    point(Math.max(0, Math.min(last, moves[event.key])));
  });
  const resized = new ResizeObserver(show);
  resized.observe(place);
  signal.addEventListener("abort", () => resized.disconnect());

  return {
    show(shown) {
      series = shown;
      show();
    },
    setLogarithmic(is) {
      isLogarithmic = is;
      show();
    },
  };
}

function scales({ points, from, to, width, unit, least, isLogarithmic }) {
  const [left, right, top, bottom] = [EDGE.left, width - EDGE.right, EDGE.top, HEIGHT - EDGE.bottom];
  const highest = Math.max(least, ...points.map((point) => point.value ?? 0));
  const x = (ms) => left + ((ms - from) / (to - from)) * (right - left);
  if (isLogarithmic) {
    const ticks = LOG_TICKS[unit];
    const first = ticks[0];
    const end = ticks.find((tick) => tick >= highest) ?? ticks.at(-1);
    const share = (v) => Math.log(Math.max(v, first) / first) / Math.log(end / first);
    return { x, y: (v) => bottom - share(v) * (bottom - top), ticks: ticks.filter((tick) => tick <= end), left, right, top, bottom };
  }
  const step = STEPS[unit].find((each) => each * TICKS >= highest) ?? highest / TICKS;
  const end = step * Math.ceil(highest / step);
  const ticks = Array.from({ length: Math.round(end / step) + 1 }, (_, index) => index * step);
  return { x, y: (v) => bottom - (v / end) * (bottom - top), ticks, left, right, top, bottom };
}

/** Return the periods without a sample of any consumer, from the first known one (`since`) on. */
export function silences(points, bucketSeconds, from, to, since) {
  const first = since === null ? to : Date.parse(since);
  return first < to ? silencesOf(points, bucketSeconds, Math.max(from, first), to) : [];
}

function silencesOf(points, bucketSeconds, from, to) {
  const most = Math.max(SILENT_SECONDS, 1.5 * bucketSeconds) * 1000;
  const half = bucketSeconds * 500;
  const moments = [from - half, ...points.map(({ ms }) => ms), to + half];
  return moments.slice(1).flatMap((ms, index) => {
    const before = moments[index];
    return ms - before > most + (index === 0 || index === moments.length - 2 ? half : 0) ? [[Math.max(from, before + half), Math.min(to, ms - half)]] : [];
  });
}

/** Split the known values into runs to join by a line; a gap separates runs. */
function runs(points, bucketSeconds, silent) {
  const most = Math.max(HEARTBEAT_SECONDS, 3 * bucketSeconds) * 1000;
  const joined = [];
  let before = null;
  for (const point of points) {
    if (point.value === null) continue;
    const isApart = before === null || point.ms - before > most || silent.some(([begin]) => begin > before && begin < point.ms);
    if (isApart) joined.push([]);
    joined.at(-1).push(point);
    before = point.ms;
  }
  return joined;
}

/** Return round times for the axis. */
function times(from, to, width) {
  const room = Math.max(2, Math.floor(width / 90));
  const step = [5, 10, 15, 30, 60, 120, 180, 240, 360].find((minutes) => (to - from) / (minutes * 60_000) <= room) ?? 720;
  const found = [];
  const ms = step * 60_000;
  for (let at = Math.ceil(from / ms) * ms; at <= to; at += ms) found.push(at);
  return found;
}
