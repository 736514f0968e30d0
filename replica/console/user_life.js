// The life of a user: both rows, what was sent about them, what is parked, and what the blog answers.
//
// Guarantees: both services are asked with the token of the person who looks, and if one is down, the
// part of the other is shown all the same. Nothing is asked again by itself: each look is audited.

import { h } from "/web/dom.js";
import { badge } from "./diagram.js";
import { hasRole } from "./frame.js";
import { KINDS } from "./kinds.js";
import { actor, capital, clock, count, many, sentence } from "./phrases.js";
import { userChecks } from "./user_checks.js";

const STATES = { active: ["quiet", "active"], disabled: ["broken", "disabled"], deleted: ["unknown", "deleted"] };
const TIME = /^\d{4}-\d{2}-\d{2}T/;

/** Show users in `#user-life`. Returns {show(id), again()}; `again` looks at the same user. */
export function userLife({ call, signal }) {
  const place = document.getElementById("user-life");
  let shown = null;

  async function ask(service, path) {
    try {
      return { life: await call(service, "GET", path, undefined, { signal }), error: null };
    } catch (error) {
      return { life: null, error };
    }
  }

  async function look(id) {
    shown = id;
    const [source, replica] = await Promise.all([ask("auth", `/v1/admin/users/${id}/life`), ask("blog", `/v1/sync/users/${id}`)]);
    if (signal.aborted || shown !== id) return;
    const isUnknown = [source, replica].every(({ error }) => error?.code === "not_found");
    place.replaceChildren(isUnknown ? h("p", { class: "empty", tabindex: "-1" }, "No user has this id, neither at the source nor here.") : panel(id, source, replica));
  }

  async function show(id) {
    place.replaceChildren(h("p", { class: "hint" }, "Looking …"));
    await look(id);
    place.querySelector("[tabindex='-1']")?.focus({ preventScroll: true });
  }

  async function again() {
    if (shown) await look(shown);
  }

  function panel(id, source, replica) {
    const status = badge();
    const of = source.life?.status ?? valueOf(replica.life, "status", "source") ?? valueOf(replica.life, "status", "replica");
    status.update(STATES[of] ?? ["unknown", of ?? "unknown"]);
    const refresh = h("button", { type: "button", class: "plain", onclick: again }, "Look again");
    return h(
      "section",
      { class: "panel life", "aria-labelledby": "life-title" },
      h("div", { class: "head" }, h("h2", { id: "life-title", tabindex: "-1" }, source.life?.email ?? id), status.element, refresh, hasRole("operator") && h("a", { href: `/console/events#${id}` }, "Watch events"), h("p", { class: "note" }, "All times are in UTC.")),
      source.life?.email && h("p", { class: "hint" }, h("code", {}, id)),
      problem("The auth service", source.error),
      problem("The blog service", replica.error),
      replica.life && answer(replica.life),
      replica.life ? sides(replica.life) : source.life && sourceAlone(source.life),
      hasRole("operator") && replica.life && userChecks({ call, signal, id, life: replica.life, again }),
      source.life && sessions(source.life),
      source.life && versions(source.life, replica.life),
      replica.life && parked(replica.life),
      source.life?.audit && entries(source.life.audit),
    );
  }

  return { show, again };
}

const valueOf = (life, name, side) => life?.fields.find(({ field }) => field === name)?.[side] ?? null;

function problem(who, error) {
  if (!error) return false;
  return h("p", { class: "problem" }, error.code === "not_found" ? `${who} does not know this user.` : sentence(error));
}

/** What a request gets, by the code that decides requests. */
function answer({ answer: given }) {
  if (!given) return false;
  const mark = badge();
  mark.update(given.code ? ["broken", `${given.status} ${given.code}`] : ["quiet", String(given.status)]);
  return h("div", {}, h("h3", {}, "What the blog answers them now"), h("div", { class: "spread" }, mark.element, h("p", {}, capital(given.because)), h("p", { class: "hint" }, "For a valid token that is issued now.")));
}

function differs({ differs: kind, source_error: error, unpublished }) {
  const mark = badge();
  if (error) mark.update(["unknown", "not compared"]);
  else if (kind === "in_flight") mark.update(["busy", "in flight"]);
  else mark.update(kind ? ["wrong", kind.replaceAll("_", " ")] : ["quiet", "equal"]);
  const meaning = error ? capital(error) : kind === "in_flight" ? "An event is on its way, or waits." : (KINDS[kind]?.[0] ?? "");
  const waits = unpublished && "An event of this user is not published yet.";
  return h("div", { class: "spread" }, mark.element, h("p", {}, [meaning, waits].filter(Boolean).join(" ")));
}

/** Both rows, field by field. */
function sides(life) {
  const verdict = ({ is_equal: isEqual }) => (isEqual === null ? "not compared" : isEqual ? "equal" : "differs");
  const cell = (field, side) => h("td", {}, field.is_hidden ? h("span", { class: "hint" }, "hidden") : h("code", {}, text(field[side])));
  const row = (field) => h("tr", { class: field.is_equal === false ? "differs" : "" }, h("th", { scope: "row" }, field.field.replaceAll("_", " ")), cell(field, "source"), cell(field, "replica"), h("td", { class: field.is_equal === false ? "strong" : "hint" }, verdict(field)));
  const isHidden = life.fields.some((field) => field.is_hidden);
  return h(
    "div",
    {},
    h("h3", {}, "Source and replica"),
    differs(life),
    life.fields.length > 0 && h("table", { class: "sides" }, head(["Field", "Source", "Replica", "Equal"]), h("tbody", {}, life.fields.map(row))),
    h("p", { class: "hint" }, life.applied_at ? `Last written here ${clock(life.applied_at)}.` : "There is no row here.", isHidden && " Only administrators see addresses."),
  );
}

function sourceAlone(life) {
  const names = ["version", "email_verified", "roles", "status", "tokens_valid_after", "created_at", "updated_at", "deleted_at"];
  return h("div", {}, h("h3", {}, "At the source"), h("dl", {}, names.flatMap((name) => [h("dt", {}, name.replaceAll("_", " ")), h("dd", {}, h("code", {}, text(life[name])))])));
}

function sessions({ sessions: number, tokens_valid_after: after }) {
  const refused = after ? `Access tokens that were issued before ${clock(after)} are refused.` : "No access token was revoked.";
  return h("div", {}, h("h3", {}, "Sessions"), h("p", {}, `${number ? many(number, "session") : "No session"} ${number > 1 ? "have" : "has"} not ended. ${refused}`));
}

/** The latest versions, each with its event, and what became of it on both sides. */
function versions({ versions: all }, replica) {
  if (!all.length) return h("div", {}, h("h3", {}, "Versions"), h("p", { class: "empty" }, "No version is in the log: all are pruned."));
  const published = ({ published_at: at, set_aside: why }) => (at ? clock(at) : why ? `waits: ${why}` : "not yet");
  const row = (version) =>
    h("tr", {}, h("th", { scope: "row" }, h("code", {}, String(version.version))), h("td", {}, version.type, h("br"), h("code", {}, version.event_id)), h("td", {}, clock(version.recorded_at)), h("td", {}, published(version)), h("td", {}, replica ? arrival(version, replica) : "unknown"));
  return h(
    "div",
    {},
    h("h3", {}, "Versions, newest first"),
    h("div", { class: "scroll", role: "region", "aria-label": "Versions", tabindex: "0" }, h("table", {}, head(["Version", "Event", "Recorded", "Published", "In the replica"]), h("tbody", {}, all.map(row)))),
    h("p", { class: "hint" }, "A version is applied once. Further copies of its message change nothing, and are not counted."),
  );
}

/** What became of a version in the replica, as far as its row, and what is parked or waits, tell. */
function arrival({ version, event_id: event }, life) {
  const stopped = life.parked.find((message) => message.event_id === event);
  if (stopped) return `parked: ${stopped.reason}`;
  const here = valueOf(life, "version", "replica");
  if (here === version) return `applied ${clock(life.applied_at)}`;
  if (here > version) return "a newer one is there";
  return life.waiting ? "not there: messages wait" : "not there";
}

function parked({ parked: messages, waiting }) {
  const waits = waiting > 0 && h("p", { class: "notice" }, `${count(waiting)} of this user's messages wait by themselves, and are tried again every few seconds.`);
  if (!messages.length && !waits) return false;
  const item = (message) => h("li", {}, h("b", {}, message.reason), ` ${message.error}. `, h("span", { class: "hint" }, `${message.event_type ?? "unknown type"}, message ${message.id}, tried ${many(message.attempts, "time")}, last ${clock(message.last_failed_at)}`));
  return h("div", {}, h("h3", {}, "Parked and waiting"), waits, messages.length > 0 && h("ul", {}, messages.map(item)), messages.length > 0 && h("p", {}, h("a", { href: "/console#parked" }, "Redrive or discard parked messages")));
}

function entries(all) {
  const item = (entry) => h("li", {}, `${clock(entry.occurred_at)} `, h("b", {}, entry.action), ` by ${actor(entry.actor)}`);
  return h("div", {}, h("h3", {}, "What was done to them"), all.length ? h("ul", { class: "found" }, all.map(item)) : h("p", { class: "empty" }, "Nothing is in the audit log."));
}

const head = (titles) => h("thead", {}, h("tr", {}, titles.map((title) => h("th", { scope: "col" }, title))));

/** A field's value, exact: times with their microseconds, since those can differ. */
function text(value) {
  if (value === null) return "–";
  if (typeof value === "boolean") return value ? "yes" : "no";
  if (Array.isArray(value)) return value.join(", ") || "–";
  const plain = String(value);
  return TIME.test(plain) ? plain.replace("T", " ") : plain;
}
