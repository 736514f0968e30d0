// Throughput, from figures that only grow. Pure.

const WINDOW_MS = 20_000; // a burst shows for some seconds, and a single event does not flicker

/**
 * Return a function that takes a figure and the time in ms, and returns how fast the figure has grown
 * in the last seconds, by the second; null until that is known, or when the figure has shrunk.
 */
export function meter() {
  let readings = [];
  return (value, ms) => {
    const [last] = readings.slice(-1);
    if (last && value < last.value) readings = [];
    readings = [...readings.filter((each) => ms - each.ms <= WINDOW_MS), { value, ms }];
    const [first] = readings;
    return ms > first.ms ? ((value - first.value) * 1000) / (ms - first.ms) : null;
  };
}

/** Return how many messages consumers applied a second, by the last whole bucket of a series; null
 * if that is old. */
export function appliedNow({ items, bucket_seconds: bucket, until }) {
  const end = (point) => Date.parse(point.at) + bucket * 1000;
  const whole = items.findLast((point) => end(point) <= Date.parse(until));
  if (!whole || Date.parse(until) - end(whole) > WINDOW_MS) return null;
  return whole.applied / bucket;
}
