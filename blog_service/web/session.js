// The signed-in user, and requests from a page to both services.
//
// Guarantees: the access token stays in this module's memory, the refresh token in a cookie that no
// script can read; local storage says only that there may be a session. An expired or rejected
// token is refreshed by one request, however many calls failed with it, and each call is repeated
// once, unless a different user has signed in meanwhile. A "change" event reports every end of the
// session, in this tab or another. A read that gets no response is repeated once.
//
// Not here: the messages to users.

import { waitUntil } from "./wait_until.js";

const TIMEOUT_MS = 20_000; // both services respond in milliseconds, or reject after two seconds
const DELETED_WITHIN_MS = 3_000; // an event takes milliseconds; users should not wait for a backlog
const DELETED_LATER_MS = 60_000;
const HINT = "session";
const ARCHIVE = "application/zip";
const STREAM = "text/event-stream";
const LOOPBACK = ["localhost", "127.0.0.1", "[::1]"];

const AUTH = document.querySelector('meta[name="auth"]').content;
// The console of `make up` also talks to a fault injector.
const FAULTS = document.querySelector('meta[name="faults"]')?.content;
const ADDRESSES = { auth: AUTH, blog: "", faults: FAULTS };

/** An error response of a service; `code` is stable, the texts are for people. */
export class Problem extends Error {
  constructor(response, document) {
    super(document.title ?? response.statusText);
    this.status = response.status;
    this.code = document.code ?? "";
    this.title = document.title ?? "";
    this.detail = document.detail ?? "";
    this.errors = document.errors ?? [];
    this.retryAfter = Number.parseInt(response.headers.get("Retry-After"), 10) || null;
  }
}

/** A service, "auth", "blog" or "faults", did not respond, or something in between responded for it. */
export class Unreachable extends Error {
  constructor(service) {
    super(`the ${service} service cannot be reached`);
    this.service = service;
  }
}

/**
 * `user` is the auth service's user, or null. The `detail` of a "change" event is the reason:
 * "signed-in", "restored", "changed", "signed-out", "deleted", "disabled", "ended" (expired or
 * revoked), or "elsewhere" (signed out in another tab).
 */
export const session = Object.assign(new EventTarget(), { user: null });

let token = null;
let epoch = 0; // rises with each sign-in and sign-out, so that older responses change nothing
let refreshing = null;

// Cookies are not shared between localhost and 127.0.0.1: move the page to the auth service's name.
const here = new URL(location.href);
const there = new URL(AUTH).hostname;
if (here.hostname !== there && [here.hostname, there].every((name) => LOOPBACK.includes(name))) {
  here.hostname = there;
  location.replace(here);
  await new Promise(() => {}); // do not start the page at the wrong address
}

/** Restore the session that the browser may hold; resolves to its user or null. */
export async function restore() {
  if (!hinted()) return null;
  try {
    await refresh("restored");
  } catch (error) {
    if (error.code !== "session_ended") throw error;
  }
  return session.user;
}

export const signUp = (email, password) => authenticate("/v1/signup", email, password);

export const signIn = (email, password) => authenticate("/v1/signin", email, password);

/**
 * End this session ("local"), all "others", or all of them ("global"). On an error the page is
 * signed out all the same, and the session lasts until it expires.
 */
export async function signOut(scope = "local") {
  try {
    await call("auth", "POST", `/v1/signout?scope=${scope}`);
  } catch (error) {
    if (error.status !== 401) throw error; // 401: the session had already ended
    if (token) await call("auth", "POST", `/v1/signout?scope=${scope}`); // a new one has started
  } finally {
    if (scope !== "others") endSession("signed-out");
  }
}

/** Reload the user; while the auth service is unreachable, the old state stays. */
export async function reloadUser(visit) {
  try {
    session.user = await call("auth", "GET", "/v1/me", undefined, visit);
  } catch (error) {
    if (!(error instanceof Unreachable)) throw error;
  }
}

export async function changeEmail(email, password) {
  session.user = await call("auth", "PATCH", "/v1/me", { email, password });
  reportChange("changed");
}

/** Change the password, which ends all other sessions. */
export async function changePassword(current, wanted) {
  const body = { current_password: current, new_password: wanted };
  startSession(await call("auth", "POST", "/v1/me/password", body), "changed");
}

/** Confirm the password in this session, for acts that need it to have been given recently. */
export async function confirmPassword(password) {
  const before = epoch;
  const confirmed = await call("auth", "POST", "/v1/session/confirm", { password });
  if (epoch === before) token = confirmed.access_token;
}

/** What each service knows of the user, as an archive by the service's name. */
export async function exportData(password) {
  const auth = await call("auth", "POST", "/v1/me/export", { password });
  return { auth, blog: await call("blog", "GET", "/v1/me/export") };
}

/**
 * Delete the account, and wait up to three seconds for the blog to apply the deletion, so that the
 * next view is without the account. `isGone` says whether it has; `later` resolves to whether it
 * does within another minute.
 */
export async function deleteAccount(password) {
  await call("auth", "DELETE", "/v1/me", { password });
  const last = token;
  const before = epoch;
  token = null; // other requests are anonymous meanwhile, and do not report the end of the session
  const isRefused = () =>
    send("blog", "GET", "/v1/me", undefined, last).then(
      () => false,
      (error) => error.status === 401,
    );
  const isGone = Boolean(await waitUntil(isRefused, DELETED_WITHIN_MS));
  if (epoch === before) endSession("deleted");
  return { isGone, later: isGone ? null : waitUntil(isRefused, DELETED_LATER_MS) };
}

/**
 * Call `service`, "auth", "blog" or "faults"; resolves to the body of the response, null if it is
 * empty, or a Blob if it is an archive. A stream of events resolves to the Response, whose body is
 * still coming.
 *
 * Throws Problem, Unreachable, or the reason for which `signal` was aborted.
 */
export async function call(service, method, path, body, { signal, headers } = {}) {
  const tokenBefore = token;
  const epochBefore = epoch;
  let rejection;
  try {
    return await send(service, method, path, body, tokenBefore, signal, headers);
  } catch (error) {
    if (error.code === "account_disabled") endSession("disabled");
    if (error.code !== "invalid_token" || !tokenBefore) throw error;
    rejection = error;
  }
  if (token === tokenBefore) await refresh("restored");
  if (epoch !== epochBefore) throw rejection; // the request was of a different user
  try {
    return await send(service, method, path, body, token, signal, headers);
  } catch (error) {
    if (error.code === "account_disabled") endSession("disabled");
    if (error.code === "invalid_token") endSession("ended");
    throw error;
  }
}

async function authenticate(path, email, password) {
  const signedIn = await send("auth", "POST", path, { email, password, session: "cookie" });
  hint(false); // tells other tabs that the user may have changed
  startSession(signedIn, "signed-in");
  return session.user;
}

function refresh(why) {
  refreshing ??= requestRefresh(why).finally(() => {
    refreshing = null;
  });
  return refreshing;
}

async function requestRefresh(why) {
  const before = epoch;
  try {
    const signedIn = await send("auth", "POST", "/v1/session/refresh");
    if (epoch === before) startSession(signedIn, why);
  } catch (error) {
    if (error.code === "session_ended" && epoch === before) endSession("ended");
    throw error;
  }
}

function startSession(signedIn, why) {
  const isSame = session.user?.id === signedIn.user.id;
  if (!isSame) epoch += 1;
  token = signedIn.access_token;
  session.user = signedIn.user;
  hint(true);
  if (why !== "restored" || !isSame) reportChange(why);
}

function endSession(why) {
  epoch += 1;
  hint(false);
  token = null;
  if (session.user === null) return;
  session.user = null;
  reportChange(why);
}

function reportChange(why) {
  session.dispatchEvent(new CustomEvent("change", { detail: why }));
}

async function send(service, method, path, body, access, signal, more = {}) {
  const headers = { ...more };
  if (access) headers.Authorization = `Bearer ${access}`;
  if (body !== undefined) headers["Content-Type"] = "application/json";
  const late = new AbortController();
  const timer = setTimeout(() => late.abort(), TIMEOUT_MS);
  let response;
  let content;
  try {
    response = await fetched(ADDRESSES[service] + path, {
      method,
      headers,
      body: JSON.stringify(body),
      // The refresh cookie goes only to the service that set it.
      credentials: service === "auth" ? "include" : "omit",
      cache: "no-store",
      redirect: "error",
      signal: signal ? AbortSignal.any([signal, late.signal]) : late.signal,
    });
    const kind = response.headers.get("Content-Type");
    if (kind === STREAM) {
      content = response;
    } else if (kind === ARCHIVE) {
      content = await response.blob();
    } else {
      const text = await response.text();
      content = text ? JSON.parse(text) : null;
    }
  } catch {
    signal?.throwIfAborted();
    // A response that is not JSON came from a proxy.
    if (!response || response.ok || response.status >= 500) throw new Unreachable(service);
  } finally {
    clearTimeout(timer);
  }
  if (response.ok) return content;
  throw new Problem(response, content ?? {});
}

/**
 * Fetch, and read once more if a read got no response: browsers break off all requests when the
 * machine's network changes, such as from Wi-Fi to mobile. To repeat a read changes nothing.
 */
async function fetched(address, request) {
  try {
    return await fetch(address, request);
  } catch (error) {
    if (request.method !== "GET" || request.signal.aborted) throw error;
    return fetch(address, request);
  }
}

// Storage may be blocked; then no session is restored on the next visit.
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
  if (newValue === null) endSession("elsewhere");
  else restore().catch(() => {}); // the next action reports the error
});

// A page restored from the back/forward cache has missed the events of other tabs.
addEventListener("pageshow", ({ persisted }) => {
  if (!persisted) return;
  if (hinted()) restore().catch(() => {});
  else endSession("elsewhere");
});
