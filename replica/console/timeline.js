// Signing keys over time: when each was published, when it signed, and when it left or was revoked.

import { s } from "./render.js";
import { clock } from "./phrases.js";

const WIDE = { width: 1120, label: 150 };
const NARROW = { width: 400, label: 96 };
const NARROW_BELOW = 700;
const ROW = 34;
const BAR = 14;
const EDGE = { top: 8, right: 70, bottom: 26 };
const TICKS = 4;
const SPAN_MS_MIN = 60_000;

const LEVELS = { pending: "busy", active: "quiet", retired: "unknown", revoked: "broken" };

/** Decide where each key's bars are, in ms since 1970. Pure. */
export function bars(keys, now) {
  return keys.map((key) => {
    const at = (time) => (time === null ? null : Date.parse(time));
    const revoked = at(key.revoked_at);
    const published = { from: at(key.created_at), to: revoked ?? Math.min(at(key.leaves_at) ?? now, now) };
    const activated = at(key.activated_at);
    const signs = activated === null ? null : { from: activated, to: at(key.retired_at) ?? revoked ?? now };
    return { key, published, signs, revoked };
  });
}

/** Draw the keys, oldest first; `width` is that of the place in pixels. */
export function timeline(keys, now, width) {
  const { width: all, label } = width < NARROW_BELOW ? NARROW : WIDE;
  const drawn = bars(keys, now);
  const begin = Math.min(now - SPAN_MS_MIN, ...drawn.map(({ published }) => published.from));
  const height = EDGE.top + keys.length * ROW + EDGE.bottom;
  const x = (ms) => label + ((ms - begin) / (now - begin)) * (all - label - EDGE.right);
  const ticks = Array.from({ length: TICKS }, (_, index) => begin + ((now - begin) * index) / TICKS);
  return s(
    "svg",
    { class: "timeline", viewBox: `0 0 ${all} ${height}`, role: "img", "aria-label": `Timeline of ${keys.length} signing keys; the table below has the same times` },
    ...(width < NARROW_BELOW ? ticks.slice(0, 1) : ticks).flatMap((ms) => [
      s("line", { x1: x(ms), x2: x(ms), y1: 0, y2: height - EDGE.bottom }),
      s("text", { x: x(ms), y: height - 8 }, clock(new Date(ms).toISOString(), { seconds: false })),
    ]),
    s("line", { class: "now", x1: x(now), x2: x(now), y1: 0, y2: height - EDGE.bottom }),
    s("text", { x: x(now), y: height - 8, "text-anchor": "middle" }, "now"),
    ...drawn.map((bar, index) => row(bar, EDGE.top + index * ROW, x)),
  );
}

function row({ key, published, signs, revoked }, top, x) {
  const bar = (name, { from, to }, inset) =>
    s("rect", { class: name, x: x(from), y: top + inset, width: Math.max(2, x(to) - x(from)), height: BAR - 2 * inset + 6, rx: 3 });
  const middle = top + BAR / 2 + 3;
  return s(
    "g",
    { "data-level": LEVELS[key.state] },
    s("text", { class: "kid", x: 0, y: top + BAR }, key.kid.slice(0, 8)),
    bar("published", published, 0),
    ...(signs ? [bar("signs", signs, 4)] : []),
    ...(revoked === null ? [] : [s("path", { class: "revoked", d: `M${x(revoked) - 5} ${middle - 5}l10 10M${x(revoked) + 5} ${middle - 5}l-10 10` })]),
    s("text", { x: Math.max(x(published.to), x(signs?.to ?? published.from)) + 10, y: top + BAR }, key.state),
  );
}
