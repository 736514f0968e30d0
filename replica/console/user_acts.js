// What administrators do to a user: roles, disabling and enabling, deletion.

import { h } from "/web/dom.js";
import { session } from "/web/session.js";
import { runWithButton } from "./busy_button.js";
import { confirmAction } from "./dialog.js";
import { badge } from "./diagram.js";
import { hasRole } from "./frame.js";
import { sentence } from "./phrases.js";
import { setAttr } from "./render.js";

const PATH = "/v1/admin/users";
const ADMINISTRATOR = "admin";
const KNOWN_ROLES = [ADMINISTRATOR, "operator", "moderator"]; // those that our services ask for
const ROLE = "[a-z][a-z0-9_-]*";
const STATES = { active: ["quiet", "active"], disabled: ["broken", "disabled"] };

/**
 * Show the acts in `#user-acts`, to administrators alone. `onChange(id)` is called after each act.
 * Returns {show(id)}.
 */
export function userActs({ call, signal }, onChange) {
  const place = document.getElementById("user-acts");
  let shown = null;

  async function show(id) {
    shown = id;
    place.replaceChildren();
    if (!hasRole(ADMINISTRATOR)) return;
    let content = [];
    try {
      content = [panel(await call("auth", "GET", `${PATH}/${id}`, undefined, { signal }))];
    } catch (error) {
      // There is nothing to do to a user who is deleted or unknown.
      if (error.code !== "not_found") content = [h("p", { class: "problem", role: "alert" }, sentence(error))];
    }
    if (shown === id && !signal.aborted) place.replaceChildren(...content);
  }

  function changed(id, content) {
    if (shown !== id) return; // the page shows another user by now
    place.replaceChildren(content);
    onChange(id);
    place.querySelector("[role=status]")?.focus();
  }

  function panel(user, text = "") {
    const problem = h("p", { class: "problem", role: "alert", hidden: true });
    const state = badge();
    state.update(STATES[user.status]);
    const roles = rolesForm(user, (wanted) => runWithButton(roles.querySelector("button"), problem, () => setRoles(user, wanted), signal));
    const toggle = h("button", { type: "button" }, user.status === "active" ? "Disable …" : "Enable");
    const deletes = h("button", { type: "button", class: "danger" }, "Delete …");
    toggle.addEventListener("click", () => runWithButton(toggle, problem, () => setStatus(user), signal));
    deletes.addEventListener("click", () => runWithButton(deletes, problem, () => erase(user), signal));
    return h(
      "section",
      { class: "panel", "aria-labelledby": "acts-title" },
      h("div", { class: "spread" }, h("h2", { id: "acts-title" }, "Administration"), state.element),
      h("p", { class: "note" }, `${user.email}, ${user.id}. `, h("a", { href: `/console/audit?subject=${user.id}` }, "What was done to this user")),
      text && outcome(text),
      problem,
      roles,
      h("div", { class: "actions" }, toggle, deletes),
    );
  }

  async function setRoles(user, wanted) {
    const granted = wanted.filter((role) => !user.roles.includes(role));
    const revoked = user.roles.filter((role) => !wanted.includes(role));
    if (!granted.length && !revoked.length) return;
    const lines = [
      granted.length > 0 && h("p", {}, `${user.email} gets ${granted.join(", ")}.`),
      revoked.length > 0 && h("p", {}, `${user.email} loses ${revoked.join(", ")}.`),
      granted.includes(ADMINISTRATOR) && h("p", { class: "notice" }, "Administrators can change and delete every account, this one included."),
      ...own(user, revoked.includes(ADMINISTRATOR), "You lose access to these pages."),
    ];
    await ask("Change roles?", lines, "Change roles", () => patch(user, { roles: wanted }, "Roles changed."));
  }

  async function setStatus(user) {
    if (user.status === "disabled") return patch(user, { status: "active" }, "Enabled. Sessions and tokens that ended stay ended.");
    const lines = [h("p", {}, `${user.email} is signed out everywhere, and cannot sign in until enabled again.`), ...own(user, true, "You are signed out, and cannot come back by yourself.")];
    return ask("Disable this user?", lines, "Disable", () => patch(user, { status: "disabled" }, "Disabled."));
  }

  async function erase(user) {
    const typed = h("input", { name: "typed", autocomplete: "off", spellcheck: "false", required: true, "data-first": true });
    const lines = [
      h("p", {}, "Everything personal is erased here at once, and in other services with the event. This cannot be undone."),
      ...own(user, true, "You are signed out."),
      h("label", { class: "field" }, `Type ${user.email} to confirm`, typed),
    ];
    const changedForm = (_, button) => setAttr(button, "aria-disabled", typed.value.trim() === user.email ? null : "true");
    await ask("Delete this user?", lines, "Delete", () => remove(user), changedForm);
  }

  async function patch(user, changes, text) {
    changed(user.id, panel(await call("auth", "PATCH", `${PATH}/${user.id}`, changes, { signal }), text));
  }

  async function remove(user) {
    await call("auth", "DELETE", `${PATH}/${user.id}`, undefined, { signal });
    changed(user.id, outcome("Deleted."));
  }

  const ask = (title, lines, submit, act, whenChanged) => confirmAction({ title, content: lines.filter(Boolean), submit, act, signal, changed: whenChanged });

  return { show };
}

const own = (user, matters, text) => (matters && user.id === session.user?.id ? [h("p", { class: "notice" }, `This is your own account. ${text}`)] : []);

const outcome = (text) => h("p", { class: "outcome", role: "status", tabindex: "-1", "data-level": "quiet" }, text);

/** The form with all roles; `submit(roles)` gets those that are wanted. */
function rolesForm(user, submit) {
  const boxes = [...new Set([...KNOWN_ROLES, ...user.roles])].map((role) =>
    h("label", {}, h("input", { type: "checkbox", name: "roles", value: role, checked: user.roles.includes(role) }), ` ${role}`),
  );
  const form = h(
    "form",
    {},
    h("fieldset", { class: "choice" }, h("legend", {}, "Roles"), boxes),
    h("label", { class: "field short" }, "Another role", h("input", { name: "other", pattern: ROLE, autocomplete: "off", spellcheck: "false" })),
    h("div", { class: "actions" }, h("button", {}, "Change roles …")),
  );
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const values = new FormData(form);
    submit([...new Set([...values.getAll("roles"), values.get("other")].filter(Boolean))].sort());
  });
  return form;
}
