// Times by RFC 3339, with PostgreSQL's microseconds, which a Date of JavaScript would lose.

const FORM = /^(\d{4})-(\d{2})-(\d{2})[Tt](\d{2}):(\d{2}):(\d{2})(\.\d+)?([Zz]|[+-]\d{2}:\d{2})$/;

/** Return the time as PostgreSQL reads it; undefined if it is none. */
export function readTime(text) {
  const found = typeof text === "string" ? FORM.exec(text) : null;
  if (found === null) return undefined;
  const [year, month, day, hour, minute, second] = found.slice(1, 7).map(Number);
  const daysOfMonth = new Date(Date.UTC(year, month, 0)).getUTCDate();
  if (month < 1 || month > 12 || day < 1 || day > daysOfMonth) return undefined;
  if (hour > 23 || minute > 59 || second > 60) return undefined;
  const before = text.slice(0, 10) + "T" + text.slice(11, 17);
  const offset = found[8].toUpperCase();
  // A leap second becomes the last microsecond before it, and digits after the sixth are dropped.
  if (second === 60) return `${before}59.999999${offset}`;
  return before + text.slice(17, 19) + (found[7] ?? "").slice(0, 7) + offset;
}
