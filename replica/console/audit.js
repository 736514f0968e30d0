// The page of the audit log: its entries, filtered. The conditions are in the page's address.

import { h } from "/web/dom.js";
import { runWithButton } from "./busy_button.js";
import { openPage } from "./frame.js";
import { actor, clock, many } from "./phrases.js";
import { setText } from "./render.js";
import { tableOf } from "./table.js";

const PATH = "/v1/admin/audit";
const FILTERS = ["subject", "actor", "action", "since", "until"];
const ACTIONS = [
  ...["user_created", "users_imported", "user_exported", "user_viewed", "users_searched", "user_deleted", "user_disabled", "user_enabled", "roles_changed"],
  ...["email_change_asked", "email_restored", "email_changed", "email_verified"],
  ...["authn_password_change", "authn_password_reset", "authn_token_reuse", "sessions_ended"],
  ...["key_generated", "key_activated", "key_retired", "key_revoked"],
  ...["service_created", "service_deleted", "service_disabled", "service_enabled", "scopes_added", "api_key_created", "api_key_revoked"],
  ...["source_restored", "log_pruned", "replay_started", "replay_paused", "replay_resumed", "replay_cancelled"],
];

openPage(({ call, signal }) => {
  const place = (id) => document.getElementById(id);
  const form = place("audit-filter");
  const problem = place("audit-problem");
  const older = place("older-entries");
  let shown = [];
  let wanted = new URLSearchParams();
  let cursor = null;

  form.elements.action.append(...ACTIONS.map((action) => h("option", { value: action }, action)));
  const asked = new URLSearchParams(location.search);
  for (const name of FILTERS) if (asked.has(name)) form.elements[name].value = asked.get(name).replace(/Z$/, "");

  async function read(more) {
    const page = await call("auth", "GET", `${PATH}?${new URLSearchParams([...wanted, ...more])}`, undefined, { signal });
    cursor = page.next_cursor;
    shown = [...shown, ...page.items];
    place("entries").replaceChildren(shown.length ? entryTable(shown) : h("p", { class: "empty" }, "No matching entries."));
    older.hidden = cursor === null;
    setText(place("audit-count"), many(shown.length, "entry", "entries"));
  }

  async function find() {
    const values = new FormData(form);
    // The fields of times have no time zone; the values are UTC.
    const text = (name) => (["since", "until"].includes(name) && values.get(name) ? `${values.get(name).padEnd(19, ":00")}Z` : values.get(name).trim());
    wanted = new URLSearchParams(FILTERS.map((name) => [name, text(name)]).filter(([, value]) => value));
    history.replaceState(null, "", wanted.size ? `?${wanted}` : location.pathname);
    shown = [];
    await read([]);
  }

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    runWithButton(form.querySelector("button"), problem, find, signal);
  });
  older.addEventListener("click", () => runWithButton(older, problem, () => read([["cursor", cursor]]), signal));
  form.requestSubmit();
});

function entryTable(entries) {
  const link = (name, id, text = id) => h("a", { href: `?${new URLSearchParams({ [name]: id })}` }, text);
  const rows = entries.map((entry) => [
    clock(entry.occurred_at),
    entry.action,
    link("actor", entry.actor, actor(entry.actor)),
    entry.subject ? link("subject", entry.subject) : "",
    entry.details ? h("code", {}, Object.entries(entry.details).map(([name, value]) => `${name} ${JSON.stringify(value)}`).join(", ")) : "",
    entry.request_id ? h("code", { title: entry.request_id }, entry.request_id.slice(0, 8)) : "",
  ]);
  return tableOf(["When", "Action", "By", "To", "Details", "Request"], rows);
}
