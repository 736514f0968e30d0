// Who is signed in, and the way from a page to both services.
//
// Guarantees: the access token is in this module's memory alone, the refresh token in a cookie that
// no script can read; what is stored says only that there may be a session. A token that is not
// accepted any more is refreshed once, by one request however many calls met it, and the call is
// made again, unless somebody else is here by then. Whatever ends the session, here or in another
// tab, is told by a "change" event.
//
// Not here: what is said to people about any of it.

import { until } from "./wait_until.js";

const TIMEOUT_MS = 20_000; // both services answer in milliseconds, or are busy for two seconds
const GONE_WITHIN_MS = 3_000; // an event takes milliseconds; nobody should wait for a long queue
const GONE_LATER_MS = 60_000;
const HINT = "session";
const LOOPBACK = ["localhost", "127.0.0.1", "[::1]"];

const AUTH = document.querySelector('meta[name="auth"]').content;
const ADDRESSES = { auth: AUTH, blog: "" };

/** The service answered that it will not do this; `code` is stable, the rest is for people. */
export class Problem extends Error {
  constructor(answer, document) {
    super(document.title ?? answer.statusText);
    this.status = answer.status;
    this.code = document.code ?? "";
    this.title = document.title ?? "";
    this.detail = document.detail ?? "";
    this.errors = document.errors ?? [];
    this.retryAfter = Number.parseInt(answer.headers.get("Retry-After"), 10) || null;
  }
}

/** A service, "auth" or "blog", gave no answer that is its own. */
export class Unreachable extends Error {
  constructor(service) {
    super(`the ${service} service cannot be reached`);
    this.service = service;
  }
}

/**
 * `user` is the auth service's user, or null. A "change" tells in `detail` why: "signed-in",
 * "restored", "changed", "signed-out", "deleted", "disabled", "ended" (expired or revoked), or
 * "elsewhere" (signed out in another tab).
 */
export const session = Object.assign(new EventTarget(), { user: null });

let token = null;
let epoch = 0; // rises with each sign-in and sign-out, which what was asked before must not undo
let refreshing = null;

// Cookies do not pass between localhost and 127.0.0.1: this page has to be where the auth service is.
const here = new URL(location.href);
const there = new URL(AUTH).hostname;
if (here.hostname !== there && [here.hostname, there].every((name) => LOOPBACK.includes(name))) {
  here.hostname = there;
  location.replace(here);
  await new Promise(() => {}); // nothing of the page starts in the wrong place
}

/** The user of the session that the browser may hold, or null; once, when the page is loaded. */
export async function restore() {
  if (!hinted()) return null;
  try {
    await refresh("restored");
  } catch (error) {
    if (error.code !== "session_ended") throw error;
  }
  return session.user;
}

export const signUp = (email, password) => enter("/v1/signup", email, password);

export const signIn = (email, password) => enter("/v1/signin", email, password);

/**
 * End this session ("local"), all "others", or all of them ("global"). The page is signed out even
 * if that fails, which is thrown: the session itself then goes on until it expires.
 */
export async function signOut(scope = "local") {
  try {
    await call("auth", "POST", `/v1/signout?scope=${scope}`);
  } catch (error) {
    if (error.status !== 401) throw error; // it had ended already
    if (token) await call("auth", "POST", `/v1/signout?scope=${scope}`); // and another has begun
  } finally {
    if (scope !== "others") leave("signed-out");
  }
}

/** Read the account again; without the auth service, what is known of it stays. */
export async function lookAgain(visit) {
  try {
    session.user = await call("auth", "GET", "/v1/me", undefined, visit);
  } catch (error) {
    if (!(error instanceof Unreachable)) throw error;
  }
}

export async function changeEmail(email, password) {
  session.user = await call("auth", "PATCH", "/v1/me", { email, password });
  tell("changed");
}

/** All other sessions end by it. */
export async function changePassword(current, wanted) {
  const body = { current_password: current, new_password: wanted };
  become(await call("auth", "POST", "/v1/me/password", body), "changed");
}

/**
 * Delete the account, and wait for the blog to hear of it, for some seconds: what it shows next
 * should be without the account. `isGone` tells whether it has; `later` resolves to whether it
 * hears of it within a minute more.
 */
export async function deleteAccount(password) {
  await call("auth", "DELETE", "/v1/me", { password });
  const last = token;
  const before = epoch;
  token = null; // whatever else asks meanwhile asks as nobody, and is not told that its session ended
  const isRefused = () =>
    ask("blog", "GET", "/v1/me", undefined, last).then(
      () => false,
      (error) => error.status === 401,
    );
  const isGone = Boolean(await until(isRefused, GONE_WITHIN_MS));
  if (epoch === before) leave("deleted");
  return { isGone, later: isGone ? null : until(isRefused, GONE_LATER_MS) };
}

/**
 * What `service`, "auth" or "blog", answers; null where the answer is empty.
 *
 * Throws Problem, Unreachable, or the reason for which `signal` was aborted.
 */
export async function call(service, method, path, body, { signal } = {}) {
  const shown = token;
  const asked = epoch;
  let refused;
  try {
    return await ask(service, method, path, body, shown, signal);
  } catch (error) {
    if (error.code === "account_disabled") leave("disabled");
    if (error.code !== "invalid_token" || !shown) throw error;
    refused = error;
  }
  if (token === shown) await refresh("restored");
  if (epoch !== asked) throw refused; // it was for whoever was here
  try {
    return await ask(service, method, path, body, token, signal);
  } catch (error) {
    if (error.code === "account_disabled") leave("disabled");
    if (error.code === "invalid_token") leave("ended");
    throw error;
  }
}

async function enter(path, email, password) {
  const signedIn = await ask("auth", "POST", path, { email, password, session: "cookie" });
  hint(false); // other tabs notice that somebody else may be here now
  become(signedIn, "signed-in");
  return session.user;
}

function refresh(why) {
  refreshing ??= askToRefresh(why).finally(() => {
    refreshing = null;
  });
  return refreshing;
}

async function askToRefresh(why) {
  const before = epoch;
  try {
    const signedIn = await ask("auth", "POST", "/v1/session/refresh");
    if (epoch === before) become(signedIn, why);
  } catch (error) {
    if (error.code === "session_ended" && epoch === before) leave("ended");
    throw error;
  }
}

function become(signedIn, why) {
  const isSame = session.user?.id === signedIn.user.id;
  if (!isSame) epoch += 1;
  token = signedIn.access_token;
  session.user = signedIn.user;
  hint(true);
  if (why !== "restored" || !isSame) tell(why);
}

function leave(why) {
  epoch += 1;
  hint(false);
  token = null;
  if (session.user === null) return;
  session.user = null;
  tell(why);
}

function tell(why) {
  session.dispatchEvent(new CustomEvent("change", { detail: why }));
}

async function ask(service, method, path, body, access, signal) {
  const headers = {};
  if (access) headers.Authorization = `Bearer ${access}`;
  if (body !== undefined) headers["Content-Type"] = "application/json";
  const timeout = AbortSignal.timeout(TIMEOUT_MS);
  let answer;
  let found;
  try {
    answer = await fetch(ADDRESSES[service] + path, {
      method,
      headers,
      body: JSON.stringify(body),
      // The refresh cookie is for the service that set it.
      credentials: service === "auth" ? "include" : "omit",
      cache: "no-store",
      redirect: "error",
      signal: signal ? AbortSignal.any([signal, timeout]) : timeout,
    });
    const text = await answer.text();
    found = text ? JSON.parse(text) : null;
  } catch {
    signal?.throwIfAborted();
    // What is no JSON was written by something in between.
    if (!answer || answer.ok || answer.status >= 500) throw new Unreachable(service);
  }
  if (answer.ok) return found;
  throw new Problem(answer, found ?? {});
}

// Storage may be closed to us; then nobody is remembered from one visit to the next.
function hinted() {
  try {
    return localStorage.getItem(HINT) !== null;
  } catch {
    return false;
  }
}

function hint(isSignedIn) {
  try {
    if (isSignedIn) localStorage.setItem(HINT, "maybe");
    else localStorage.removeItem(HINT);
  } catch {
    // as above
  }
}

addEventListener("storage", ({ key, newValue }) => {
  if (key !== null && key !== HINT) return;
  if (newValue === null) leave("elsewhere");
  else restore().catch(() => {}); // whoever acts next is told why it failed
});

// A page that comes back out of the history heard nothing of other tabs meanwhile.
addEventListener("pageshow", ({ persisted }) => {
  if (!persisted) return;
  if (hinted()) restore().catch(() => {});
  else leave("elsewhere");
});
