// Messages that could not be read or applied: see why, redrive them, or discard them with a reason.
//
// What is in a message was written by anybody: it is shown as text.

import { h } from "/web/dom.js";
import { ask } from "./dialog.js";
import { poll } from "./poll.js";
import { press } from "./busy_button.js";
import { keyed, put, set, tell } from "./render.js";
import { clock, count, many } from "./phrases.js";

const PATH = "/v1/sync/parked";
const LISTED = 20;
const EVERY_MS = 5_000;
const BECAUSE_LENGTH_MAX = 500;

const KILLER = "kills_the_process"; // which would take the API along
const OUTCOMES = {
  applied: "applied",
  unchanged: "well: the replica had it already",
  stale: "well: the replica has something newer",
  tombstoned: "well: its user is deleted",
};

/** The panel. Ends with `signal`. */
export function parkedPanel({ call, signal, missed }) {
  const place = (id) => document.getElementById(id);
  const problem = place("parked-problem");
  const outcome = place("parked-outcome");
  const empty = h("p", { class: "empty" }, "Nothing is parked.");
  let messages = [];
  let older = [];
  let cursor = null;

  const show = keyed(place("parked-list"), (each) => each.id, (each) => card(each, { redrive, discard, whole, signal }));
  const soon = poll((stop) => call("blog", "GET", `${PATH}?limit=${LISTED}`, undefined, { signal: stop }), {
    every: () => EVERY_MS,
    signal,
    missed,
    heard({ items, next_cursor: next }) {
      messages = items;
      if (!older.length) cursor = next;
      list();
    },
  });

  function list() {
    show([...messages, ...older]);
    if (messages.length) empty.remove();
    else place("parked-list").append(empty);
    place("parked-actions").hidden = !messages.length;
    place("older-parked").hidden = cursor === null;
    put(place("parked-note"), messages.length ? "They could not be read or applied, and wait for somebody who knows why. Others went on." : "");
  }

  const whole = (id) => call("blog", "GET", `${PATH}/${id}`, undefined, { signal });

  function drop(id) {
    messages = messages.filter((each) => each.id !== id);
    older = older.filter((each) => each.id !== id);
    list();
    soon();
  }

  function report(level, text) {
    set(outcome, "data-level", level);
    tell(outcome, text);
  }

  async function redrive(id) {
    const told = await call("blog", "POST", `${PATH}/${id}/redrive`, undefined, { signal });
    if (told.outcome === "parked") {
      report("look", `${id} stays parked. ${told.reason}: ${told.error}`);
      soon();
    } else {
      report("quiet", `${id}: ${OUTCOMES[told.outcome]}.`);
      drop(id);
    }
  }

  async function discard(message) {
    const reason = h("input", { name: "because", required: true, maxlength: BECAUSE_LENGTH_MAX, id: "because", autocomplete: "off", "data-first": true });
    const isDone = await ask({
      title: `Discard message ${message.id}?`,
      content: [
        h("p", {}, "It is removed for good. Who did it and why stays on record, what was in it does not."),
        message.user_id && h("p", {}, "Compare and repair afterwards: that fetches what its user missed."),
        h("label", { for: "because" }, "Why? Kept for ever, so name nobody."),
        reason,
      ].filter(Boolean),
      submit: "Discard",
      signal,
      act: (form) => call("blog", "POST", `${PATH}/${message.id}/discard`, { because: form.get("because") }, { signal }),
    });
    if (!isDone) return;
    report("quiet", `${message.id} is discarded.`);
    drop(message.id);
  }

  place("redrive-all").addEventListener("click", async ({ currentTarget: button }) => {
    if (messages.some((each) => each.reason === KILLER)) {
      tell(problem, "One of them kills the process that touches it: redrive by the command, blog-service parked redrive --all, which is nobody's process.");
      return;
    }
    await press(button, problem, redriveAll, signal);
    soon();
  });

  async function redriveAll() {
    report("busy", "Redriving …");
    const all = {};
    for (let next = ""; next !== null; ) {
      const told = await call("blog", "POST", `${PATH}/redrive${next && `?cursor=${next}`}`, undefined, { signal });
      next = told.next_cursor;
      for (const [name, number] of Object.entries(told)) if (name !== "next_cursor") all[name] = (all[name] ?? 0) + number;
      report(all.parked ? "look" : "quiet", said(all));
    }
    older = [];
  }

  function said(all) {
    const { parked: left, ...gone } = all;
    const parts = Object.entries(gone).filter(([, number]) => number).map(([name, number]) => `${count(number)} ${name}`);
    return `Redriven: ${parts.join(", ") || "none of them went"}${left ? `; ${many(left, "stays", "stay")} parked` : ""}.`;
  }

  async function showOlder() {
    const page = await call("blog", "GET", `${PATH}?limit=${LISTED}&cursor=${cursor}`, undefined, { signal });
    older = [...older, ...page.items];
    cursor = page.next_cursor;
    list();
  }

  place("older-parked").addEventListener("click", ({ currentTarget: button }) => press(button, problem, showOlder, signal));
}

/** One message, and all of it when that is asked for. */
function card(made, { redrive, discard, whole, signal }) {
  const reason = h("b", {});
  const why = h("span", {});
  const facts = h("p", { class: "hint" });
  const failed = h("p", { class: "problem", role: "alert", hidden: true });
  const content = h("div", { class: "message" });
  const more = h("details", {}, h("summary", {}, "Headers and body"), content);
  const again = h("button", { type: "button" }, "Redrive");
  const gone = h("button", { type: "button" }, "Discard …");
  const element = h(
    "article",
    { class: "running parked", "aria-label": `Message ${made.id}` },
    h("div", { class: "spread" }, h("p", {}, h("code", {}, String(made.id)), " ", reason, " ", why), h("div", { class: "actions" }, again, gone)),
    facts,
    more,
    failed,
  );
  let message = made;

  const act = (button, what) => press(button, failed, what, signal);

  again.addEventListener("click", () => {
    if (message.reason === KILLER) tell(failed, `It would take the API along: redrive it by the command, blog-service parked redrive ${message.id}.`);
    else act(again, () => redrive(message.id));
  });
  gone.addEventListener("click", () => act(gone, () => discard(message)));
  more.addEventListener("toggle", () => {
    if (more.open && !content.hasChildNodes()) act(more, async () => content.replaceChildren(...wholeSaid(await whole(message.id))));
  });

  return {
    element,
    update(now) {
      message = now;
      put(reason, now.reason.replaceAll("_", " "));
      put(why, now.error);
      const times = now.attempts === 1 ? `failed ${clock(now.first_failed_at)}` : `failed ${count(now.attempts)} times, ${clock(now.first_failed_at)} to ${clock(now.last_failed_at)}`;
      const whose = now.user_id ? `user ${now.user_id}${now.erased ? ", erased" : ""}` : "no user is legible in it";
      put(facts, [now.event_type ?? "no type", whose, times].join(" · "));
    },
  };
}

function wholeSaid(message) {
  const facts = { exchange: message.exchange, "routing key": message.routing_key, ...message.properties };
  const list = (values) => h("dl", {}, Object.entries(values).flatMap(([name, value]) => [h("dt", {}, name), h("dd", {}, h("code", {}, typeof value === "string" ? value : JSON.stringify(value)))]));
  const headers = Object.keys(message.headers).length ? list(message.headers) : h("p", { class: "hint" }, "none");
  const length = message.body_bytes === null ? "" : `, ${many(message.body_bytes, "byte")}, ${message.body_encoding}`;
  return [
    h("h4", {}, "Properties"),
    list(facts),
    h("h4", {}, "Headers"),
    headers,
    h("h4", {}, `Body${length}`),
    message.body === null ? h("p", { class: "hint" }, "Erased with its user.") : h("pre", { tabindex: 0 }, message.body),
  ];
}
