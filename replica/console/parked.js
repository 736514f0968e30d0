// Parked messages: show why each failed, redrive it, or discard it with a reason.
//
// Anyone may have written the content of a message, so it is always shown as text.

import { h } from "/web/dom.js";
import { confirmAction } from "./dialog.js";
import { poll } from "./poll.js";
import { runWithButton } from "./busy_button.js";
import { userLink } from "./links.js";
import { keyedList, setText, setAttr, setMessage } from "./render.js";
import { clock, count, many } from "./phrases.js";

const PATH = "/v1/sync/parked";
const LISTED = 20;
const EVERY_MS = 5_000;
const BECAUSE_LENGTH_MAX = 500;

const KILLER = "kills_the_process"; // redriving it over HTTP would crash the API
const OUTCOMES = {
  applied: "applied",
  unchanged: "done, the replica already had this state",
  stale: "done, the replica has a newer state",
  tombstoned: "done, the user is deleted",
};

/** Run the panel until `signal` is aborted. */
export function parkedPanel({ call, signal, onError }) {
  const place = (id) => document.getElementById(id);
  const problem = place("parked-problem");
  const outcome = place("parked-outcome");
  const empty = h("p", { class: "empty" }, "No parked messages.");
  let messages = [];
  let older = [];
  let cursor = null;
  let groups = [];
  let chosen = null; // the group that is listed; null: all

  const showGroups = groupsView(place("parked-groups"), (group) => {
    chosen = group;
    [messages, older, cursor] = [[], [], null];
    drawGroups();
    soon();
  });
  const show = keyedList(place("parked-list"), (each) => each.id, (each) => card(each, { redrive, discard, whole, signal }));
  const page = (stop, next = "") => call("blog", "GET", `${PATH}?limit=${LISTED}${ofGroup(chosen)}${next && `&cursor=${next}`}`, undefined, { signal: stop });
  const soon = poll(async (stop) => {
    const asked = chosen;
    const [listed, counted] = await Promise.all([page(stop), call("blog", "GET", `${PATH}/groups`, undefined, { signal: stop })]);
    return { ...listed, groups: counted.items, asked };
  }, {
    every: () => EVERY_MS,
    signal,
    onError,
    onData({ items, next_cursor: next, groups: counted, asked }) {
      if (asked !== chosen) return;
      groups = counted;
      drawGroups();
      messages = items;
      if (!older.length) cursor = next;
      list();
    },
  });

  /** Show the groups, if there is a choice; without the chosen one, all are listed again. */
  function drawGroups() {
    if (chosen && !groups.some((group) => keyOf(group) === keyOf(chosen))) {
      chosen = null;
      soon();
    }
    showGroups(groups.length > 1 || chosen ? groups : [], chosen);
  }

  function list() {
    show([...messages, ...older]);
    if (messages.length) empty.remove();
    else place("parked-list").append(empty);
    place("parked-actions").hidden = !messages.length || chosen !== null; // it redrives all groups
    place("older-parked").hidden = cursor === null;
    setText(place("parked-note"), messages.length ? "These messages could not be applied. The rest of the queue is not affected." : "");
  }

  const whole = (id) => call("blog", "GET", `${PATH}/${id}`, undefined, { signal });

  function drop(id) {
    messages = messages.filter((each) => each.id !== id);
    older = older.filter((each) => each.id !== id);
    list();
    soon();
  }

  function report(level, text) {
    setAttr(outcome, "data-level", level);
    setMessage(outcome, text);
  }

  async function redrive(id) {
    const result = await call("blog", "POST", `${PATH}/${id}/redrive`, undefined, { signal });
    if (result.outcome === "parked") {
      report("look", `${id} stays parked. ${result.reason}: ${result.error}`);
      soon();
    } else {
      report("quiet", `${id}: ${OUTCOMES[result.outcome]}.`);
      drop(id);
    }
  }

  async function discard(message) {
    const reason = h("input", { name: "because", required: true, maxlength: BECAUSE_LENGTH_MAX, id: "because", autocomplete: "off", "data-first": true });
    const isDone = await confirmAction({
      title: `Discard message ${message.id}?`,
      content: [
        h("p", {}, "The message is deleted permanently. Who discarded it and why is recorded; its content is not."),
        message.user_id && h("p", {}, "Compare and repair afterwards to fetch the user's current state."),
        h("label", { for: "because" }, "Reason (stored permanently; do not name anyone)"),
        reason,
      ].filter(Boolean),
      submit: "Discard",
      signal,
      act: (form) => call("blog", "POST", `${PATH}/${message.id}/discard`, { because: form.get("because") }, { signal }),
    });
    if (!isDone) return;
    report("quiet", `${message.id}: discarded.`);
    drop(message.id);
  }

  place("redrive-all").addEventListener("click", async ({ currentTarget: button }) => {
    if (messages.some((each) => each.reason === KILLER)) {
      setMessage(problem, "One of these messages may crash the process that handles it. Use the command line: blog-service parked redrive --all.");
      return;
    }
    await runWithButton(button, problem, redriveAll, signal);
    soon();
  });

  async function redriveAll() {
    report("busy", "Redriving …");
    const all = {};
    for (let next = ""; next !== null; ) {
      const counts = await call("blog", "POST", `${PATH}/redrive${next && `?cursor=${next}`}`, undefined, { signal });
      next = counts.next_cursor;
      for (const [name, number] of Object.entries(counts)) if (name !== "next_cursor") all[name] = (all[name] ?? 0) + number;
      report(all.parked ? "look" : "quiet", redriveSummary(all));
    }
    older = [];
  }

  function redriveSummary(all) {
    const { parked: left, ...gone } = all;
    const parts = Object.entries(gone).filter(([, number]) => number).map(([name, number]) => `${count(number)} ${name}`);
    if (left) parts.push(`${count(left)} still parked`);
    return `Redrive: ${parts.join(", ") || "no messages"}.`;
  }

  async function showOlder() {
    const next = await page(signal, cursor);
    older = [...older, ...next.items];
    cursor = next.next_cursor;
    list();
  }

  place("older-parked").addEventListener("click", ({ currentTarget: button }) => runWithButton(button, problem, showOlder, signal));
}

const keyOf = ({ reason, event_type: type }) => `${reason} ${type ?? ""}`;

const ofGroup = (group) => (group ? `&reason=${encodeURIComponent(group.reason)}&type=${encodeURIComponent(group.event_type ?? "")}` : "");

/** Return the function that shows groups as buttons, of which one is pressed. */
function groupsView(place, choose) {
  const everything = { reason: "", event_type: null, messages: null };
  let pressed = null;
  const show = keyedList(place, keyOf, (made) => {
    const text = h("span", {});
    const number = h("span", { class: "badge" });
    const element = h("button", { type: "button", onclick: () => choose(made === everything ? null : made) }, text, " ", number);
    return {
      element,
      update(group) {
        setText(text, group === everything ? "All" : `${group.reason.replaceAll("_", " ")} · ${group.event_type ?? "no type"}`);
        setText(number, group === everything ? "" : count(group.messages));
        number.hidden = group === everything;
        setAttr(element, "aria-pressed", keyOf(group) === keyOf(pressed ?? everything));
      },
    };
  });
  return (groups, chosen) => {
    pressed = chosen;
    place.hidden = !groups.length;
    show(groups.length ? [everything, ...groups] : []);
  };
}

/** Build the card of a message, which loads headers and body when they are opened. */
function card(made, { redrive, discard, whole, signal }) {
  const reason = h("b", {});
  const why = h("span", {});
  const erased = h("span", {});
  const times = h("span", {});
  const whose = made.user_id ? ["user ", userLink(made.user_id), erased] : ["no user id"];
  const facts = h("p", { class: "hint" }, made.event_type ?? "no type", " · ", whose, " · ", times);
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

  const act = (button, what) => runWithButton(button, failed, what, signal);

  again.addEventListener("click", () => {
    if (message.reason === KILLER) setMessage(failed, `The message may crash the process that handles it. Use the command line: blog-service parked redrive ${message.id}.`);
    else act(again, () => redrive(message.id));
  });
  gone.addEventListener("click", () => act(gone, () => discard(message)));
  more.addEventListener("toggle", () => {
    if (more.open && !content.hasChildNodes()) act(more, async () => content.replaceChildren(...contentParts(await whole(message.id))));
  });

  return {
    element,
    update(now) {
      message = now;
      setText(reason, now.reason.replaceAll("_", " "));
      setText(why, now.error);
      const when = now.attempts === 1 ? `failed ${clock(now.first_failed_at)}` : `failed ${count(now.attempts)} times, ${clock(now.first_failed_at)} to ${clock(now.last_failed_at)}`;
      setText(erased, now.erased ? ", erased" : "");
      setText(times, when);
    },
  };
}

function contentParts(message) {
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
    message.body === null ? h("p", { class: "hint" }, "Erased together with its user.") : h("pre", { tabindex: 0 }, message.body),
  ];
}
