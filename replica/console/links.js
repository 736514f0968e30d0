// Links from ids to the page of users, and the names of requesters.

import { h } from "/web/dom.js";
import { actor } from "./phrases.js";

const USER = /^user:(?=[0-9a-f-]{36}$)/;

/** Show the id of a user, as a link to what is known of them. */
export const userLink = (id) => h("a", { href: `/console/users#${id}` }, h("code", {}, id));

/** Name who asked for something, in nodes for `append`: "by you", "by ID", a link if that is a user. */
export function by(text) {
  const named = actor(text);
  return ["by ", named === text && USER.test(text) ? userLink(text.replace(USER, "")) : named];
}
