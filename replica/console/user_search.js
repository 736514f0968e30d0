// Finding users by the beginning of their id, and, for administrators, of their e-mail address.
//
// Both services are asked about ids, so that users are found who are missing at one of them. An address
// is looked for at the source alone, in the body of a request.

import { h } from "/web/dom.js";
import { announce, hasRole } from "./frame.js";
import { many } from "./phrases.js";

const ID = /^[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}$/i;
const ID_PREFIX = /^[0-9a-f]{3}[0-9a-f-]{0,33}$/i;
const SHOWN_MAX = 20; // of each service

/** Whether a text is a user's whole id. */
export const isId = (text) => ID.test(text);

/**
 * Return the search: it takes what was typed, lists the users who were found, and resolves to the id
 * if there is only one, else to null.
 */
export function userSearch({ call, signal }) {
  const place = document.getElementById("users-found");
  const byAddress = hasRole("admin");
  document.getElementById("find-user-label").textContent = byAddress ? "E-mail address or id" : "Id";
  document.getElementById("find-user-hint").textContent = byAddress ? "The beginning is enough. Searches are in the audit log." : "The beginning is enough. Administrators also find users by address.";

  const atSource = (text) => call("auth", "POST", "/v1/admin/users/search", { text }, { signal });
  const atReplica = (text) => call("blog", "GET", `/v1/sync/users?id_prefix=${encodeURIComponent(text)}`, undefined, { signal });

  async function found(text) {
    const asked = [atSource(text), ...(ID_PREFIX.test(text) ? [atReplica(text)] : [])];
    const [source, replica] = await Promise.allSettled(asked);
    if (source.status === "rejected" && replica?.status !== "fulfilled") throw source.reason;
    const users = new Map();
    for (const { id, deleted_at: deleted } of replica?.value?.items ?? []) users.set(id, { id, status: deleted ? "deleted" : "" });
    for (const user of source.value?.items ?? []) users.set(user.id, user);
    return [...users.values()];
  }

  return async (text) => {
    place.replaceChildren();
    const users = await found(text);
    if (signal.aborted) return null;
    if (users.length === 1) return users[0].id;
    const why = byAddress || ID_PREFIX.test(text) ? "No user has an id or address that begins like this." : "This is no id. Ask an administrator to find users by address.";
    announce(users.length ? `${many(users.length, "user")} found` : why);
    place.replaceChildren(users.length ? list(users) : h("p", { class: "empty" }, why));
    return null;
  };
}

function list(users) {
  const more = users.length >= SHOWN_MAX && h("p", { class: "hint" }, "There may be more: type more of the id or address.");
  const item = ({ id, email, status }) => h("li", {}, h("a", { href: `#${id}` }, email ?? id), " ", h("span", { class: "hint" }, [email && id, status].filter(Boolean).join(", ")));
  return h("div", {}, h("ul", { class: "found", "aria-label": "Users found" }, users.map(item)), more);
}
