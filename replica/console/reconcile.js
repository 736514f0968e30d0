// Compare the replica with its source, watch it, and repair what may be repaired.

import { h } from "/web/dom.js";
import { ask } from "./dialog.js";
import { badge } from "./diagram.js";
import { poll } from "./poll.js";
import { press } from "./busy_button.js";
import { keyed, put, set } from "./render.js";
import { actor, ago, capital, clock, count, many, now, span } from "./phrases.js";

const PATH = "/v1/sync/reconcile";
const LISTED = 15;
const FINDINGS_SHOWN = 20;
const BUSY_MS = 1_000;
const IDLE_MS = 4_000;

const KINDS = {
  missing: ["At the source, not here.", "repair"],
  stale: ["An older version here than at the source.", "repair"],
  undeleted: ["Deleted at the source, alive here.", "repair"],
  corrupt: ["The same version with other content: somebody wrote to the replica.", "repair"],
  ahead: ["A newer version here than at the source: that was set back, or somebody wrote here.", "ahead"],
  orphan: ["Here, never at the source.", "orphans"],
  undone_deletion: ["Deleted here, alive at the source: that was set back. The source must delete again: auth-service users erase ID.", null],
  provisional_orphan: ["An id without a user, of a token that was good once.", "orphans"],
};

const REASONS = {
  operator: "asked for",
  empty: "the replica was empty",
  gap: "messages were lost",
  backwards: "the source was set back",
  queue_lost: "the queue was lost",
  schedule: "by schedule",
};

const VERDICTS = { in_step: ["quiet", "in step"], drift: ["wrong", "drift"], could_not_compare: ["look", "no verdict"] };

const PHASES = {
  digests: "comparing the digests of all users",
  reading: "reading the users of differing buckets from the source",
  arriving: "waiting for a heartbeat, behind which nothing is on its way",
  comparing: "telling users apart, and repairing",
};

const isUnfinished = (run) => run.state === "waiting" || run.state === "running";

/** Kinds in the words of the command's options. */
function repairsSaid(kinds) {
  const has = (kind) => kinds.includes(kind);
  const plain = has("corrupt") ? "repair" : has("missing") ? "what is safe by itself" : null;
  return [plain, has("ahead") && "ahead", has("orphan") && "orphans"].filter(Boolean).join(", ");
}

const sum = (counts) => Object.values(counts ?? {}).reduce((all, one) => all + one, 0);

/**
 * The panel; `heard(runs)` hears of the newest ones, `consumers()` tells how many are alive. Ends
 * with `signal`.
 */
export function reconcilePanel({ call, signal, heard, missed, consumers }) {
  const place = (id) => document.getElementById(id);
  const problem = place("reconcile-problem");
  let runs = [];
  let shownId = null; // chosen from the history; null is the newest that has ended
  let askedId = null; // begun here, so that its end is shown, whatever came of it
  let whole = null; // the run that is shown, with its findings
  let older = []; // pages of the history behind the first
  let cursor = null;

  const showNow = nowShown(place("run-now"));
  const showEnded = detailsShown(place("run-shown"));
  const history = keyed(place("runs"), (run) => run.id, (run) => row(run, () => choose(run.id)));

  const soon = poll((stop) => call("blog", "GET", `${PATH}?limit=${LISTED}`, undefined, { signal: stop }), {
    every: () => (runs.some(isUnfinished) ? BUSY_MS : IDLE_MS),
    signal,
    missed,
    heard({ items, next_cursor: next }) {
      runs = items;
      if (!older.length) cursor = next;
      show();
      heard(runs);
    },
  });

  function show() {
    const [newest] = runs;
    const unfinished = runs.filter((run) => isUnfinished(run) || run.state === "lapsed" || run.state === "broken_off");
    showNow(unfinished[0] === newest || (newest && isUnfinished(newest)) ? newest : unfinished.find(isUnfinished), consumers());
    history([...runs, ...older]);
    place("older-runs").hidden = cursor === null;
    const wanted = wantedId();
    if (wanted && whole?.id !== wanted) load(wanted);
    else if (!wanted) showEnded(null);
    if (whole) showEnded(whole, shownId !== null, leave);
    const why = whyNoRepair();
    set(place("repair"), "aria-disabled", why ? "true" : null);
    put(place("repair-why"), why ?? "");
  }

  /** The run to show: the chosen one, else the newest that compared, or failed after we asked. */
  function wantedId() {
    const ended = runs.filter((run) => run.finished_at);
    const tells = (run) => run.verdict !== "could_not_compare" || run.id === askedId;
    return shownId ?? (ended.find(tells) ?? ended[0])?.id;
  }

  function whyNoRepair() {
    if (runs.some(isUnfinished)) return "One is under way.";
    const last = runs.find((run) => run.verdict && run.verdict !== "could_not_compare");
    if (!last) return "Compare first: what differs decides what can be repaired.";
    if (last.verdict === "in_step") return "Nothing differs.";
    return null;
  }

  async function load(id) {
    try {
      const found = await call("blog", "GET", `${PATH}/${id}`, undefined, { signal });
      if (id !== wantedId()) return;
      whole = found;
      showEnded(whole, shownId !== null, leave);
    } catch (error) {
      if (!signal.aborted) missed(error);
    }
  }

  function choose(id) {
    shownId = id;
    show();
    place("run-shown").scrollIntoView({ block: "nearest" });
  }

  function leave() {
    shownId = null;
    show();
    place("compare").focus();
  }

  async function begin(body) {
    const run = await call("blog", "POST", PATH, body, { signal });
    runs = [run, ...runs];
    shownId = null;
    askedId = run.id;
    show();
    heard(runs);
    soon();
  }

  place("compare").addEventListener("click", ({ currentTarget: button }) => press(button, problem, () => begin({}), signal));

  place("repair").addEventListener("click", () => {
    if (whyNoRepair()) return;
    const last = runs.find((run) => run.verdict && run.verdict !== "could_not_compare");
    askToRepair(last);
  });

  function askToRepair(last) {
    const left = (...kinds) => kinds.reduce((all, kind) => all + (last.differing?.[kind] ?? 0) - (last.repaired?.[kind] ?? 0), 0);
    const plain = left("missing", "stale", "undeleted", "corrupt");
    const ahead = left("ahead");
    const orphans = left("orphan");
    const provisional = left("provisional_orphan");
    const undone = left("undone_deletion");
    const box = (name, number, label, meaning) =>
      number > 0 && h("label", { class: "check" }, h("input", { type: "checkbox", name, value: "yes" }), h("span", {}, h("b", {}, label), " ", meaning));
    const brake = h("label", { class: "brake" }, "Delete at most ", h("input", { type: "number", name: "max_deletions", min: 0, max: 1_000_000, step: 1, value: 10, required: true, inputmode: "numeric" }), " users: all of them, or none.");
    const content = [
      h("p", {}, `The replica is compared once more, and what differs then is repaired. At the comparison ${ago(last.finished_at)} it was:`),
      h("p", {}, plain ? h("b", {}, `${many(plain, "user")} missing, stale, undeleted or corrupt. `) : "Nobody missing, stale, undeleted or corrupt.", plain > 0 && "Written anew, as the source has them."),
      box("ahead", ahead, `Set back ${many(ahead, "user who is", "users who are")} ahead.`, "Their newer state here is lost: right if the source is right."),
      box(
        "orphans",
        orphans + provisional,
        `Delete ${[orphans && many(orphans, "user"), provisional && many(provisional, "id without a user", "ids without a user")].filter(Boolean).join(" and ")} whom the source does not know.`,
        "A tombstone is final: their posts are hidden at once, and erased after seven days.",
      ),
      orphans > 0 && brake,
      undone > 0 && h("p", {}, `${many(undone, "undone deletion stays", "undone deletions stay")}: it is the source that has to delete again.`),
    ].filter(Boolean);
    return ask({
      title: "Repair the replica?",
      content,
      submit: "Repair",
      signal,
      act: (form) => begin({ repair: true, ahead: form.has("ahead"), orphans: form.has("orphans"), max_deletions: Number(form.get("max_deletions") ?? 0) }),
      changed(form, button) {
        const wanted = new FormData(form);
        const all = plain + (wanted.has("ahead") ? ahead : 0) + (wanted.has("orphans") ? orphans + provisional : 0);
        brake.hidden = !wanted.has("orphans");
        put(button, all ? `Repair ${many(all, "user")}` : "Repair");
        button.disabled = !all;
      },
    });
  }

  async function showOlder() {
    const page = await call("blog", "GET", `${PATH}?limit=${LISTED}&cursor=${cursor}`, undefined, { signal });
    older = [...older, ...page.items];
    cursor = page.next_cursor;
    show();
  }

  place("older-runs").addEventListener("click", ({ currentTarget: button }) => press(button, problem, showOlder, signal));
}

/** What goes on now, or why it never will. */
function nowShown(place) {
  const mark = badge();
  const line = h("p", {});
  const bar = h("progress", { "aria-label": "Users of this phase" });
  const amount = h("p", { class: "hint" });
  const box = h("div", { class: "running" }, h("div", { class: "spread" }, mark.element, line), bar, amount);
  return (run, consumers) => {
    if (!run || run.state === "ended") {
      if (box.isConnected) put(document.getElementById("announcer"), "The comparison has ended.");
      box.remove();
      return;
    }
    if (!box.isConnected) place.append(box);
    const what = run.repairs.length ? `Comparing, and repairing (${repairsSaid(run.repairs)})` : "Comparing";
    if (run.state === "waiting") {
      mark.update(["busy", "waiting"]);
      const when = consumers === 0 ? "No consumer is alive: it waits for one, for ten minutes at most." : "A consumer takes it up within seconds.";
      put(line, `${what}: asked for ${ago(run.requested_at)}. ${when}`);
    } else if (run.state === "running") {
      mark.update(["busy", "running"]);
      put(line, `${what}: ${PHASES[run.phase] ?? "begun"}, for ${span((now() - Date.parse(run.started_at)) / 1000)}.`);
    } else {
      mark.update(["look", run.state === "lapsed" ? "not taken up" : "broken off"]);
      put(line, capital(run.explanation));
    }
    const isCounted = run.state === "running" && run.done !== null && (run.phase === "reading" || run.phase === "comparing");
    bar.hidden = !isUnfinished(run);
    if (isCounted && run.total) {
      set(bar, "max", run.total);
      set(bar, "value", Math.min(run.done, run.total));
    } else set(bar, "value", null);
    put(amount, isCounted ? `${count(run.done)}${run.total ? ` of about ${count(run.total)}` : ""} users` : "");
  };
}

/** A run that has ended: verdict, counts by kind, and the users. */
function detailsShown(place) {
  let shown = null;
  let wasChosen = false;
  let age = null;
  return (run, isChosen = false, leave = null) => {
    if (!run) {
      if (shown !== "none") place.replaceChildren(h("p", { class: "empty" }, "The replica was never compared with its source."));
      shown = "none";
      return;
    }
    if (shown !== run.id || wasChosen !== isChosen) {
      shown = run.id;
      wasChosen = isChosen;
      age = h("span", {});
      place.replaceChildren(...details(run, age, isChosen, leave));
    }
    put(age, ago(run.source_at ?? run.finished_at));
  };
}

function details(run, age, isChosen, leave) {
  const mark = badge();
  mark.update(VERDICTS[run.verdict]);
  const differing = sum(run.differing);
  const repaired = sum(run.repaired);
  const parts = run.verdict === "could_not_compare" ? ["There is no verdict, neither good nor bad"] : [
    `${many(run.compared, "user")}, deleted ones too`,
    `${count(differing)} ${repaired ? "differed" : differing === 1 ? "differs" : "differ"}`,
    ...(repaired ? [`${count(repaired)} repaired`] : []),
    ...(run.in_flight ? [`${count(run.in_flight)} in flight`] : []),
  ];
  const why = `${REASONS[run.reason]}${run.requested_by ? ` by ${actor(run.requested_by)}` : ""}`;
  const blocks = [
    h("div", { class: "spread verdict-line" }, mark.element, h("p", { class: "strong" }, parts.join(", ")), h("p", { class: "hint" }, "as of ", h("time", { datetime: run.source_at ?? run.finished_at }, clock(run.source_at ?? run.finished_at)), ", ", age, "; ", why, ".")),
  ];
  if (isChosen) blocks.unshift(h("p", {}, h("button", { type: "button", class: "plain", onclick: leave }, "Back to the last one")));
  if (run.explanation) blocks.push(h("p", { class: run.verdict === "could_not_compare" ? "problem" : "notice" }, capital(run.explanation)));
  if (differing) blocks.push(kindsTable(run));
  const findings = run.findings ?? [];
  if (findings.length) {
    const table = findingsTable(findings, differing);
    blocks.push(run.verdict === "in_step" ? h("details", {}, h("summary", {}, "Users that differed and were repaired"), table) : table);
  }
  return blocks;
}

function kindsTable(run) {
  const rows = Object.entries(run.differing).map(([kind, number]) => {
    const repaired = run.repaired?.[kind] ?? 0;
    const [meaning] = KINDS[kind] ?? [""];
    return h("tr", {}, h("th", { scope: "row" }, kind.replaceAll("_", " ")), h("td", { class: "number" }, count(number)), h("td", { class: "number" }, count(repaired)), h("td", {}, meaning));
  });
  return h("div", { class: "scroll" }, h("table", {}, h("caption", {}, "By kind"), h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "Kind"), h("th", { scope: "col", class: "number" }, "Differ"), h("th", { scope: "col", class: "number" }, "Repaired"), h("th", { scope: "col" }, "What it is"))), h("tbody", {}, rows)));
}

function findingsTable(findings, differing) {
  const body = h("tbody", {}, findings.slice(0, FINDINGS_SHOWN).map(finding));
  const rest = findings.length - FINDINGS_SHOWN;
  const more = rest > 0 && h("button", { type: "button", class: "plain", onclick: () => { body.append(...findings.slice(FINDINGS_SHOWN).map(finding)); more.remove(); } }, `Show ${count(rest)} more`);
  const unnamed = differing - findings.length;
  return h(
    "div",
    { class: "scroll", id: "findings" },
    h("table", {}, h("caption", {}, "Users that differed"), h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "User"), h("th", { scope: "col" }, "Kind"), h("th", { scope: "col", class: "number" }, "Version at the source"), h("th", { scope: "col", class: "number" }, "Version here"), h("th", { scope: "col" }, "Repaired"))), body),
    more,
    unnamed > 0 && h("p", { class: "hint" }, `${count(unnamed)} more are counted, not named.`),
  );
}

const finding = (each) =>
  h("tr", {}, h("td", {}, h("code", {}, each.user_id)), h("td", {}, each.kind.replaceAll("_", " ")), h("td", { class: "number" }, h("code", {}, String(each.source_version ?? "none"))), h("td", { class: "number" }, h("code", {}, String(each.replica_version ?? "none"))), h("td", {}, each.repaired ? "yes" : "no"));

/** A line of the history. */
function row(run, choose) {
  const mark = badge();
  const when = h("td", {}, h("time", { datetime: run.requested_at }, clock(run.requested_at)));
  const cells = Array.from({ length: 5 }, (_, index) => h("td", { class: index > 1 ? "number" : "" }));
  const show = h("button", { type: "button", class: "plain", onclick: choose, "aria-label": `Show the comparison of ${clock(run.requested_at)}` }, "Show");
  const element = h("tr", {}, when, cells[0], cells[1], h("td", {}, mark.element), cells.slice(2), h("td", {}, show));
  return {
    element,
    update(now) {
      put(cells[0], REASONS[now.reason]);
      put(cells[1], repairsSaid(now.repairs) || "–");
      mark.update(VERDICTS[now.verdict] ?? (isUnfinished(now) ? ["busy", now.state] : ["look", now.state.replaceAll("_", " ")]));
      put(cells[2], now.compared === null ? "–" : count(now.compared));
      put(cells[3], now.differing === null ? "–" : count(sum(now.differing)));
      put(cells[4], now.repaired === null ? "–" : count(sum(now.repaired)));
      show.hidden = now.finished_at === null;
    },
  };
}
