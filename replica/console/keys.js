// The page of signing keys: their rotation as a timeline, and the acts that rotate them.

import { h } from "/web/dom.js";
import { runWithButton } from "./busy_button.js";
import { confirmAction } from "./dialog.js";
import { badge } from "./diagram.js";
import { openPage } from "./frame.js";
import { clock, now, sentence } from "./phrases.js";
import { setMessage } from "./render.js";
import { tableOf } from "./table.js";
import { timeline } from "./timeline.js";

const PATH = "/v1/admin/keys";
const STATES = {
  pending: ["busy", "pending"],
  active: ["quiet", "active"],
  retired: ["unknown", "retired"],
  revoked: ["broken", "revoked"],
};

openPage(({ call, signal }) => {
  const place = (id) => document.getElementById(id);
  const problem = place("keys-problem");
  const ask = (method, path, body) => call("auth", method, path, body, { signal });

  async function reload() {
    const { items } = await ask("GET", PATH);
    const width = place("timeline").clientWidth;
    place("timeline").replaceChildren(...(items.length ? [timeline(items, now(), width)] : []));
    place("signing-keys").replaceChildren(h("div", { class: "scroll" }, keyTable(items.toReversed(), actsOf)));
  }

  /** Ask whether to put a key into a state, and do it. */
  const change = (key, state, { title, text, submit, look }) =>
    confirmAction({
      title,
      content: [h("p", {}, text)],
      submit,
      look,
      signal,
      act: async () => {
        await ask("PATCH", `${PATH}/${key.kid}`, { state });
        await reload();
        setMessage(place("keys-outcome"), `${key.kid} is ${state}.`);
      },
    });

  function actsOf(key) {
    const act = (word, state, question) => {
      const button = h("button", { type: "button", "aria-label": `${word} ${key.kid}` }, `${word} …`);
      button.addEventListener("click", () => runWithButton(button, problem, () => change(key, state, question), signal));
      return button;
    };
    const short = key.kid.slice(0, 8);
    const acts = [];
    if (key.state === "pending") {
      acts.push(
        act("Activate", "active", { title: "Activate this key?", text: `${short} signs from now on. The present key retires, and stays published until its last token has expired.`, submit: "Activate", look: "primary" }),
        act("Retire", "retired", { title: "Withdraw this key?", text: `${short} will never sign.`, submit: "Retire" }),
      );
    }
    if (key.state !== "revoked") {
      acts.push(
        act("Revoke", "revoked", { title: "Revoke this key?", text: `For emergencies: every token that ${short} signed is rejected at once, everywhere and permanently. If it is the active key, the oldest pending key or a new one replaces it. Users stay signed in.`, submit: "Revoke" }),
      );
    }
    return h("div", { class: "actions" }, acts);
  }

  const generate = place("generate");
  generate.addEventListener("click", () =>
    runWithButton(generate, problem, () =>
      confirmAction({
        title: "Generate a key?",
        content: [h("p", {}, "It is published at once, and signs when you activate it.")],
        submit: "Generate",
        look: "primary",
        signal,
        act: async () => {
          const key = await ask("POST", PATH);
          await reload();
          setMessage(place("keys-outcome"), `${key.kid} is published. Activate it from ${clock(key.may_be_activated_at)} on.`);
        },
      }), signal),
  );

  reload().catch((error) => !signal.aborted && setMessage(problem, sentence(error)));
});

function keyTable(keys, actsOf) {
  const rows = keys.map((key) => {
    const mark = badge();
    mark.update(STATES[key.state]);
    return [h("code", { title: key.kid }, key.kid.slice(0, 12)), mark.element, `${key.bits} bits, ${key.origin}`, clock(key.created_at), next(key), actsOf(key)];
  });
  return tableOf(["Key", "State", "Private half", "Published", "Since and next", "Acts"], rows);
}

/** Say since when a key is in its state, and what comes next. */
function next(key) {
  if (key.revoked_at) return `revoked ${clock(key.revoked_at)}`;
  if (key.leaves_at) return `retired ${clock(key.retired_at)}, ${Date.parse(key.leaves_at) > now() ? "leaves" : "left"} the key set ${clock(key.leaves_at)}`;
  if (key.may_be_activated_at) return `may be activated from ${clock(key.may_be_activated_at)}`;
  return `signs since ${clock(key.activated_at)}, for ${key.active_for_days} days`;
}
