// The page of service accounts and their API keys.

import { h } from "/web/dom.js";
import { runWithButton } from "./busy_button.js";
import { confirmAction } from "./dialog.js";
import { badge } from "./diagram.js";
import { openPage } from "./frame.js";
import { clock, sentence } from "./phrases.js";
import { keyedList, setMessage, setText } from "./render.js";
import { showOnce } from "./shown_once.js";
import { tableOf } from "./table.js";

const PATH = "/v1/admin/services";
const STATES = { active: ["quiet", "active"], disabled: ["broken", "disabled"] };

openPage(({ call, signal }) => {
  const place = (id) => document.getElementById(id);
  const ask = (method, path, body) => call("auth", method, path, body, { signal });
  const empty = h("p", { class: "empty" }, "No service accounts yet.");
  const show = keyedList(place("services"), (each) => each.id, (each) => card(each, { ask, reload, signal }));

  async function reload() {
    const accounts = await all((cursor) => ask("GET", `${PATH}?limit=100${cursor}`));
    show(accounts);
    if (accounts.length) empty.remove();
    else place("services").append(empty);
  }

  const form = place("new-service");
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const values = new FormData(form);
    runWithButton(form.querySelector("button"), place("new-service-problem"), () => create(values.get("name"), values.getAll("scopes")), signal);
  });

  async function create(name, scopes) {
    const issued = await ask("POST", PATH, { name, scopes });
    form.reset();
    showOnce(issued, signal); // before anything that may fail: nobody can show it again
    await reload();
  }

  reload().catch((error) => !signal.aborted && setMessage(place("services-problem"), sentence(error)));
});

/** Read all pages; `read(cursor)` takes the further part of the query. */
async function all(read) {
  const items = [];
  let cursor = "";
  do {
    const page = await read(cursor);
    items.push(...page.items);
    cursor = page.next_cursor && `&cursor=${encodeURIComponent(page.next_cursor)}`;
  } while (cursor);
  return items;
}

/** Build the card of an account; its keys are read when they are opened. */
function card(made, { ask, reload, signal }) {
  const mark = badge();
  const problem = h("p", { class: "problem", role: "alert", hidden: true });
  const about = h("p", { class: "hint" });
  const keys = h("div", { class: "scroll" });
  const toggle = h("button", { type: "button" });
  const rotate = h("button", { type: "button" }, "Issue a key …");
  const remove = h("button", { type: "button", class: "danger" }, "Delete …");
  const details = h("details", {}, h("summary", {}, "API keys"), keys);
  const element = h(
    "article",
    { class: "running", "aria-label": made.name },
    h("div", { class: "spread" }, h("h2", {}, made.name), mark.element, h("div", { class: "actions" }, rotate, toggle, remove)),
    about,
    problem,
    details,
  );
  let account = made;
  const path = `${PATH}/${made.id}`;
  const run = (button, act) => button.addEventListener("click", () => runWithButton(button, problem, act, signal));
  const confirm = (title, text, submit, act) => confirmAction({ title, content: [h("p", {}, text)], submit, act, signal });

  async function showKeys() {
    if (!details.open) return;
    const found = await all((cursor) => ask("GET", `${path}/keys?limit=100${cursor}`));
    keys.replaceChildren(found.length ? keyTable(found, revoke) : h("p", { class: "empty" }, "No keys."));
  }

  async function revoke(key, button) {
    const text = `The key ${key.key_id} gets no more tokens, and all present tokens of ${account.name} are refused. Its other key gets new ones.`;
    await runWithButton(button, problem, () => confirm("Revoke this key?", text, "Revoke", async () => {
      await ask("DELETE", `${path}/keys/${key.key_id}`);
      await showKeys();
    }), signal);
  }

  const readKeys = () => showKeys().catch((error) => !signal.aborted && setMessage(problem, sentence(error)));
  details.addEventListener("toggle", readKeys);
  run(rotate, () =>
    confirmAction({
      title: "Issue another key?",
      content: [h("p", {}, `${account.name} gets another key. The former one stays valid until you revoke it or it expires.`)],
      submit: "Issue a key",
      look: "primary",
      signal,
      act: async () => {
        showOnce(await ask("POST", `${path}/keys`), signal); // first, as above
        readKeys();
      },
    }),
  );
  run(toggle, async () => {
    const wanted = account.status === "active" ? "disabled" : "active";
    const change = async () => {
      await ask("PATCH", path, { status: wanted });
      await reload();
    };
    if (wanted === "active") await change();
    else await confirm("Disable this account?", `${account.name} gets no tokens, and its present ones are refused everywhere, until it is enabled again.`, "Disable", change);
  });
  run(remove, () =>
    confirm("Delete this account?", `${account.name} and its keys are deleted, and its tokens are refused everywhere. This cannot be undone.`, "Delete", async () => {
      await ask("DELETE", path);
      await reload();
    }),
  );

  return {
    element,
    update(now) {
      account = now;
      mark.update(STATES[now.status]);
      setText(about, `${now.id}, created ${clock(now.created_at, { seconds: false })}, may ${now.scopes.join(", ")}`);
      setText(toggle, now.status === "active" ? "Disable …" : "Enable");
    },
  };
}

function keyTable(keys, revoke) {
  const now = Date.now();
  const state = (key) => {
    if (key.revoked_at) return `revoked ${clock(key.revoked_at, { seconds: false })}`;
    return Date.parse(key.expires_at) < now ? "expired" : "live";
  };
  const rows = keys.map((key) => {
    const button = h("button", { type: "button", "aria-label": `Revoke the key ${key.key_id}` }, "Revoke …");
    button.addEventListener("click", () => revoke(key, button));
    const at = (time) => (time ? clock(time, { seconds: false }) : "never");
    return [h("code", {}, key.key_id), state(key), at(key.created_at), at(key.expires_at), at(key.last_used_at), state(key) === "live" ? button : ""];
  });
  return tableOf(["Key", "State", "Created", "Expires", "Last used", "Revoke"], rows);
}
