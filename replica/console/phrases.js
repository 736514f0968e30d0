// Numbers, times and errors in words. Times are UTC, as in the logs and the commands.

import { Problem, session, Unreachable } from "/web/session.js";

const COUNT = new Intl.NumberFormat("en");
const COMPACT = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });

// How far the services' clock is ahead of this machine's, in ms.
let ahead = 0;

/** Follow the services' clock, from the time in a response. */
export function setClock(iso) {
  ahead = Date.parse(iso) - Date.now();
}

/** Return the current time of the services' clock, in ms. */
export const now = () => Date.now() + ahead;

export const count = (number) => COUNT.format(number);

/** Format a number briefly: 50,000, 100K, 12M. */
export const short = (number) => (number < 100_000 ? count(number) : COMPACT.format(number));

/** Format a number with its noun: "1 user", "2 users". */
export const many = (number, one, more = `${one}s`) => `${count(number)} ${number === 1 ? one : more}`;

/** Format a duration in a suitable unit: 4 ms, 1.2 s, 40 s, 3 min, 2 h 5 min, 3 d. */
export function span(seconds) {
  if (seconds < 0.9995) return `${Math.round(seconds * 1000)} ms`;
  if (seconds < 9.95) return `${Number(seconds.toFixed(1))} s`;
  if (seconds < 99.5) return `${Math.round(seconds)} s`;
  const minutes = Math.round(seconds / 60);
  if (minutes < 120) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  if (hours < 48) return minutes % 60 ? `${hours} h ${minutes % 60} min` : `${hours} h`;
  return `${Math.round(hours / 24)} d`;
}

/** Format an age: whole seconds, at least one. */
export const age = (seconds) => span(seconds < 60 ? Math.max(1, Math.floor(seconds)) : seconds);

/** Format a rate: "0.4/s", "12/s". */
export const perSecond = (rate) => `${rate < 9.95 ? Number(rate.toFixed(1)) : count(Math.round(rate))}/s`;

/** Format how long ago a time is. */
export function ago(iso) {
  const seconds = Math.max(0, (now() - Date.parse(iso)) / 1000);
  return seconds < 1 ? "just now" : `${age(seconds)} ago`;
}

/** Format the time of day, with the date if it is not today. */
export function clock(iso, { seconds = true } = {}) {
  const text = new Date(iso).toISOString();
  const time = text.slice(11, seconds ? 19 : 16);
  const isToday = text.slice(0, 10) === new Date(now()).toISOString().slice(0, 10);
  return isToday ? time : `${text.slice(0, 10)} ${time}`;
}

/** Name the requester: services write a user as "user:ID". */
export function actor(text) {
  const id = text.replace(/^user:/, "");
  return id === session.user?.id ? "you" : text;
}

const AWAY = {
  auth: "The auth service is not responding.",
  blog: "The blog service is not responding.",
  faults: "The fault injector is not responding. Run make up.",
};

const BY_CODE = {
  invalid_credentials: "E-mail or password is wrong.",
  account_disabled: "An administrator has disabled this account.",
  origin_not_allowed: "The auth service does not accept this page's address: add it to AUTH_CORS_ORIGINS.",
};

/** Return the message for an error, in one or two sentences. */
export function sentence(error) {
  if (error instanceof Unreachable) return AWAY[error.service];
  if (error.name === "TimeoutError") return "The service took too long to respond.";
  if (!(error instanceof Problem)) {
    console.error(error);
    return "Something went wrong in this page. Reload it.";
  }
  const parts = error.errors.map(({ pointer, detail }) => `${pointer.split("/").slice(2).join(" ")}: ${detail}`);
  return BY_CODE[error.code] ?? capital([error.detail || error.title, ...parts].filter(Boolean).join("; "));
}

/** Make a text a sentence: a capital at the beginning, a full stop at the end. */
export function capital(text) {
  const capitalised = text.charAt(0).toUpperCase() + text.slice(1);
  return /[.?!…]$/.test(capitalised) ? capitalised : `${capitalised}.`;
}
