// Comparison of the replica with its source: start it, follow it, and repair what differs.

import { h } from "/web/dom.js";
import { confirmAction } from "./dialog.js";
import { badge } from "./diagram.js";
import { KINDS } from "./kinds.js";
import { poll } from "./poll.js";
import { runWithButton } from "./busy_button.js";
import { by, userLink } from "./links.js";
import { keyedList, setText, setAttr } from "./render.js";
import { ago, capital, clock, count, many, now, span } from "./phrases.js";

const PATH = "/v1/sync/reconcile";
const LISTED = 15;
const FINDINGS_SHOWN = 20;
const BUSY_MS = 1_000;
const IDLE_MS = 4_000;

const REASONS = {
  operator: "requested",
  empty: "the replica was empty",
  gap: "messages were lost",
  backwards: "the source was restored to an earlier state",
  queue_lost: "the queue was lost",
  schedule: "scheduled",
};

const VERDICTS = { in_step: ["quiet", "in step"], drift: ["wrong", "drift"], could_not_compare: ["look", "failed"] };

const PHASES = {
  digests: "comparing the digests of all users",
  reading: "reading the users of differing buckets from the source",
  arriving: "waiting for a heartbeat, to rule out events in flight",
  comparing: "classifying and repairing users",
};

/** Those about all users: others say nothing about the replica as a whole. */
const ofAll = (runs) => runs.filter((run) => !run.users);

const isUnfinished = (run) => run.state === "waiting" || run.state === "running";

/** Name the kinds to repair by the command's options. */
function repairOptions(kinds) {
  const has = (kind) => kinds.includes(kind);
  const plain = has("corrupt") ? "repair" : has("missing") ? "safe repairs" : null;
  return [plain, has("ahead") && "ahead", has("orphan") && "orphans"].filter(Boolean).join(", ");
}

const sum = (counts) => Object.values(counts ?? {}).reduce((all, one) => all + one, 0);

/**
 * Run the panel until `signal` is aborted. `onData(runs)` receives the newest comparisons;
 * `consumers()` returns how many consumers are alive.
 */
export function reconcilePanel({ call, signal, onData, onError, consumers }) {
  const place = (id) => document.getElementById(id);
  const problem = place("reconcile-problem");
  let runs = [];
  let shownId = null; // chosen from the history; null: the newest that has ended
  let requestedId = null; // started here, so that its result is shown even if it failed
  let whole = null; // the shown run, with its findings
  let older = []; // further pages of the history
  let cursor = null;

  const showNow = currentRunView(place("run-now"));
  const showEnded = endedRunView(place("run-shown"));
  const history = keyedList(place("runs"), (run) => run.id, (run) => row(run, () => choose(run.id)));

  const soon = poll((stop) => call("blog", "GET", `${PATH}?limit=${LISTED}`, undefined, { signal: stop }), {
    every: () => (runs.some(isUnfinished) ? BUSY_MS : IDLE_MS),
    signal,
    onError,
    onData({ items, next_cursor: next }) {
      runs = items;
      if (!older.length) cursor = next;
      show();
      onData(ofAll(runs));
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
    setAttr(place("repair"), "aria-disabled", why ? "true" : null);
    setText(place("repair-why"), why ?? "");
  }

  /** Return the run to show: the chosen one, else the newest with a verdict or requested here. */
  function wantedId() {
    const ended = runs.filter((run) => run.finished_at);
    const isOfInterest = (run) => run.verdict !== "could_not_compare" || run.id === requestedId;
    return shownId ?? (ofAll(ended).find(isOfInterest) ?? ofAll(ended)[0] ?? ended[0])?.id;
  }

  function whyNoRepair() {
    if (runs.some(isUnfinished)) return "A comparison is running.";
    const last = ofAll(runs).find((run) => run.verdict && run.verdict !== "could_not_compare");
    if (!last) return "Compare first, to see what can be repaired.";
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
      if (!signal.aborted) onError(error);
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
    requestedId = run.id;
    show();
    onData(ofAll(runs));
    soon();
  }

  place("compare").addEventListener("click", ({ currentTarget: button }) => runWithButton(button, problem, () => begin({}), signal));

  place("repair").addEventListener("click", () => {
    if (whyNoRepair()) return;
    const last = ofAll(runs).find((run) => run.verdict && run.verdict !== "could_not_compare");
    openRepairDialog(last);
  });

  function openRepairDialog(last) {
    const left = (...kinds) => kinds.reduce((all, kind) => all + (last.differing?.[kind] ?? 0) - (last.repaired?.[kind] ?? 0), 0);
    const plain = left("missing", "stale", "undeleted", "corrupt");
    const ahead = left("ahead");
    const orphans = left("orphan");
    const provisional = left("provisional_orphan");
    const undone = left("undone_deletion");
    const box = (name, number, label, meaning) =>
      number > 0 && h("label", { class: "check" }, h("input", { type: "checkbox", name, value: "yes" }), h("span", {}, h("b", {}, label), " ", meaning));
    const brake = h("label", { class: "brake" }, "Delete at most ", h("input", { type: "number", name: "max_deletions", min: 0, max: 1_000_000, step: 1, value: 10, required: true, inputmode: "numeric" }), " users. If more would be deleted, none is.");
    const content = [
      h("p", {}, `The replica is compared again, and the differences found then are repaired. The comparison ${ago(last.finished_at)} found:`),
      h("p", {}, plain ? h("b", {}, `${many(plain, "user")} missing, stale, undeleted or corrupt. `) : "No user missing, stale, undeleted or corrupt.", plain > 0 && "They are overwritten with the source's state."),
      box("ahead", ahead, `Reset ${many(ahead, "user who is", "users who are")} ahead to the source's state.`, "The newer state in the replica is lost. Correct if the source is right."),
      box(
        "orphans",
        orphans + provisional,
        `Delete ${[orphans && many(orphans, "user"), provisional && many(provisional, "id without a user", "ids without a user")].filter(Boolean).join(" and ")} unknown to the source.`,
        "Deletion is permanent: their content is hidden immediately and erased after seven days.",
      ),
      orphans > 0 && brake,
      undone > 0 && h("p", {}, `${many(undone, "undone deletion stays", "undone deletions stay")}: delete these users at the source again.`),
    ].filter(Boolean);
    return confirmAction({
      title: "Repair the replica?",
      content,
      submit: "Repair",
      signal,
      act: (form) => begin({ repair: true, ahead: form.has("ahead"), orphans: form.has("orphans"), max_deletions: Number(form.get("max_deletions") ?? 0) }),
      changed(form, button) {
        const wanted = new FormData(form);
        const all = plain + (wanted.has("ahead") ? ahead : 0) + (wanted.has("orphans") ? orphans + provisional : 0);
        brake.hidden = !wanted.has("orphans");
        setText(button, all ? `Repair ${many(all, "user")}` : "Repair");
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

  place("older-runs").addEventListener("click", ({ currentTarget: button }) => runWithButton(button, problem, showOlder, signal));
}

/** Return the function that shows the current run, or why it ended without a verdict. */
function currentRunView(place) {
  const mark = badge();
  const line = h("p", {});
  const bar = h("progress", { "aria-label": "Users of this phase" });
  const amount = h("p", { class: "hint" });
  const box = h("div", { class: "running" }, h("div", { class: "spread" }, mark.element, line), bar, amount);
  return (run, consumers) => {
    if (!run || run.state === "ended") {
      if (box.isConnected) setText(document.getElementById("announcer"), "The comparison has ended.");
      box.remove();
      return;
    }
    if (!box.isConnected) place.append(box);
    const what = run.repairs.length ? `Comparing and repairing (${repairOptions(run.repairs)})` : "Comparing";
    if (run.state === "waiting") {
      mark.update(["busy", "waiting"]);
      const when = consumers === 0 ? "No consumer is alive. The run waits for one, for up to ten minutes." : "A consumer starts it within seconds.";
      setText(line, `${what}: requested ${ago(run.requested_at)}. ${when}`);
    } else if (run.state === "running") {
      mark.update(["busy", "running"]);
      setText(line, `${what}: ${PHASES[run.phase] ?? "started"}, for ${span((now() - Date.parse(run.started_at)) / 1000)}.`);
    } else {
      mark.update(["look", run.state === "lapsed" ? "expired" : "aborted"]);
      setText(line, capital(run.explanation));
    }
    const isCounted = run.state === "running" && run.done !== null && (run.phase === "reading" || run.phase === "comparing");
    bar.hidden = !isUnfinished(run);
    if (isCounted && run.total) {
      setAttr(bar, "max", run.total);
      setAttr(bar, "value", Math.min(run.done, run.total));
    } else setAttr(bar, "value", null);
    setText(amount, isCounted ? `${count(run.done)}${run.total ? ` of about ${count(run.total)}` : ""} users` : "");
  };
}

/** Return the function that shows an ended run: verdict, counts by kind, and users. */
function endedRunView(place) {
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
    setText(age, ago(run.source_at ?? run.finished_at));
  };
}

function details(run, age, isChosen, leave) {
  const mark = badge();
  mark.update(VERDICTS[run.verdict]);
  const differing = sum(run.differing);
  const repaired = sum(run.repaired);
  const parts = run.verdict === "could_not_compare" ? ["Comparison failed"] : [
    run.users ? `${count(run.compared)} of ${many(run.users.length, "named user")}` : `${many(run.compared, "user")} (including deleted)`,
    `${count(differing)} ${repaired ? "differed" : differing === 1 ? "differs" : "differ"}`,
    ...(repaired ? [`${count(repaired)} repaired`] : []),
    ...(run.in_flight ? [`${count(run.in_flight)} in flight`] : []),
  ];
  const blocks = [
    h("div", { class: "spread verdict-line" }, mark.element, h("p", { class: "strong" }, parts.join(", ")), h("p", { class: "hint" }, "as of ", h("time", { datetime: run.source_at ?? run.finished_at }, clock(run.source_at ?? run.finished_at)), ", ", age, "; ", why(run), ".")),
  ];
  if (isChosen) blocks.unshift(h("p", {}, h("button", { type: "button", class: "plain", onclick: leave }, "Back to the latest")));
  if (run.explanation) blocks.push(h("p", { class: run.verdict === "could_not_compare" ? "problem" : "notice" }, capital(run.explanation)));
  if (differing) blocks.push(kindsTable(run));
  const findings = run.findings ?? [];
  if (findings.length) {
    const table = findingsTable(findings, differing);
    blocks.push(run.verdict === "in_step" ? h("details", {}, h("summary", {}, "Users who differed and were repaired"), table) : table);
  }
  return blocks;
}

function kindsTable(run) {
  const rows = Object.entries(run.differing).map(([kind, number]) => {
    const repaired = run.repaired?.[kind] ?? 0;
    const [meaning] = KINDS[kind] ?? [""];
    return h("tr", {}, h("th", { scope: "row" }, kind.replaceAll("_", " ")), h("td", { class: "number" }, count(number)), h("td", { class: "number" }, count(repaired)), h("td", {}, meaning));
  });
  return h("div", { class: "scroll" }, h("table", {}, h("caption", {}, "By kind"), h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "Kind"), h("th", { scope: "col", class: "number" }, "Differ"), h("th", { scope: "col", class: "number" }, "Repaired"), h("th", { scope: "col" }, "Meaning"))), h("tbody", {}, rows)));
}

function findingsTable(findings, differing) {
  const body = h("tbody", {}, findings.slice(0, FINDINGS_SHOWN).map(finding));
  const rest = findings.length - FINDINGS_SHOWN;
  const more = rest > 0 && h("button", { type: "button", class: "plain", onclick: () => { body.append(...findings.slice(FINDINGS_SHOWN).map(finding)); more.remove(); } }, `Show ${count(rest)} more`);
  const unnamed = differing - findings.length;
  return h(
    "div",
    { class: "scroll", id: "findings" },
    h("table", {}, h("caption", {}, "Users who differed"), h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "User"), h("th", { scope: "col" }, "Kind"), h("th", { scope: "col", class: "number" }, "Source version"), h("th", { scope: "col", class: "number" }, "Replica version"), h("th", { scope: "col" }, "Repaired"))), body),
    more,
    unnamed > 0 && h("p", { class: "hint" }, `${count(unnamed)} more are counted but not listed.`),
  );
}

const finding = (each) =>
  h("tr", {}, h("td", {}, userLink(each.user_id)), h("td", {}, each.kind.replaceAll("_", " ")), h("td", { class: "number" }, h("code", {}, String(each.source_version ?? "none"))), h("td", { class: "number" }, h("code", {}, String(each.replica_version ?? "none"))), h("td", {}, each.repaired ? "yes" : "no"));

/** Say why a comparison was made, and who asked for it. */
const why = (run) => [REASONS[run.reason], run.requested_by && [" ", ...by(run.requested_by)], run.users && `, ${many(run.users.length, "user")}`].flat().filter(Boolean);

/** Build a row of the history. */
function row(run, choose) {
  const mark = badge();
  const when = h("td", {}, h("time", { datetime: run.requested_at }, clock(run.requested_at)));
  const cells = Array.from({ length: 5 }, (_, index) => h("td", { class: index > 1 ? "number" : "" }));
  const show = h("button", { type: "button", class: "plain", onclick: choose, "aria-label": `Show the comparison of ${clock(run.requested_at)}` }, "Show");
  cells[0].append(...why(run));
  const element = h("tr", {}, when, cells[0], cells[1], h("td", {}, mark.element), cells.slice(2), h("td", {}, show));
  return {
    element,
    update(now) {
      setText(cells[1], repairOptions(now.repairs) || "–");
      mark.update(VERDICTS[now.verdict] ?? (isUnfinished(now) ? ["busy", now.state] : ["look", now.state === "lapsed" ? "expired" : "aborted"]));
      setText(cells[2], now.compared === null ? "–" : count(now.compared));
      setText(cells[3], now.differing === null ? "–" : count(sum(now.differing)));
      setText(cells[4], now.repaired === null ? "–" : count(sum(now.repaired)));
      show.hidden = now.finished_at === null;
    },
  };
}
