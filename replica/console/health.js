// What is wrong, and where to look. Pure: figures in, sentences out.

import { age, ago, count, many, span } from "./phrases.js";

// From worst to best. What is `unknown` was true once.
const LEVELS = ["broken", "wrong", "behind", "look", "busy", "quiet"];

const LAG_SECONDS_MAX = 5; // an event takes milliseconds; one that took longer waited for something
const UNPUBLISHED_SECONDS_MAX = 5;
const DEPTH_MAX = 1_000;
export const HEARTBEAT_SECONDS_MAX = 45;
const QUEUE = "blog.users";
const SEEN_SECONDS_MAX = 20; // four looks of the relay
const APART_MAX = 10; // the ends are not asked at the same moment
const APART_MS_MAX = 10_000;

const REMEDIES = [
  [/no relay is active/, "Start auth-service relay, or look at its log. Nothing is lost: events wait in the outbox."],
  [/broker is away|no broker/, "RabbitMQ is down, or refuses. Nothing is lost: all events follow when it is back."],
  [/no queue is bound/, "Start blog-service consumer: it declares and binds the queue. Events wait in the outbox."],
  [/refuses events/, "A policy limits the queue: start the consumer, or lift the policy."],
  [/does not confirm/, "A disk or memory alarm, or a partition: rabbitmq-diagnostics alarms."],
  [/consumer has stopped/, "Too many messages in a row were parked for the same reason. See what is parked, mend the cause, then start the consumer again."],
  [/no consumer/, "Start blog-service consumer, or look at its log. Nothing is lost: messages wait in the queue."],
  [/no heartbeat/, "Nothing arrives here: is this the broker that the relay publishes to, and is its queue bound?"],
  [/messages wait/, "A flood, or a slow database: look at the consumer's log. A second consumer helps."],
  [/events wait/, "The relay does not get on: look at its log."],
];

const NAMES = { near: "The auth service", far: "The blog service" };
const COMMANDS = { near: "auth-service api", far: "blog-service api" };

const DEGRADED = {
  empty: "the replica was never compared, or has lost all its users",
  gap: "messages were lost",
  queue_lost: "the queue was lost, and what was in it",
  backwards: "the source was set back",
};

/**
 * All that is the matter, worst first, as {level, line, remedy, at}; never empty. `at` is the id of
 * the place to look at.
 *
 * near, far: {figures, at, error} of either end: the last figures, when they came, and why none has
 * come since. runs: the newest comparisons; replays: the newest ones.
 */
export function troubles({ near, far, runs, replays, apartSince = null }) {
  const found = [];
  const add = (level, at, line, remedy = "") => found.push({ level, at, line, remedy });

  for (const [end, told] of Object.entries({ near, far })) {
    if (!told.error) continue;
    const since = told.at ? ` for ${age((Date.now() - told.at) / 1000)}` : "";
    add("broken", "pipe", `${silence(end, told.error)}${since}`, `Look at ${COMMANDS[end]}: its log, and its /readyz. What is shown of it is as old as the picture says.`);
  }
  for (const [end, told] of Object.entries({ near, far })) {
    if (told.error || !told.figures?.clock) continue;
    add("look", "pipe", `${NAMES[end]}'s database had a wrong clock: it ${told.figures.clock.replace(/: see .*/, "")}`, 'See "A clock ran ahead" in the runbook: what was issued meanwhile may have to be revoked.');
  }
  const isNear = near.figures && !near.error;
  const isFar = far.figures && !far.error;
  if (isNear) ofPipe(near.figures.pipe, add, near.figures);
  if (isFar && !(isNear && isSame(near.figures.pipe, far.figures.pipe))) {
    // The blog's API knows no queue while no consumer is there; the relay does.
    const waiting = far.figures.consumers ? null : seenByRelay(near.figures, near);
    const more = waiting && !/wait/.test(far.figures.pipe) ? `; ${many(waiting, "message waits", "messages wait")}` : "";
    ofPipe(far.figures.pipe + more, add, far.figures);
  }
  if (isFar) ofReplica(far.figures, runs, add);
  const users = apart({ near, far });
  const isExplained = found.some(({ level }) => ["broken", "wrong", "behind"].includes(level));
  if (users && isLate(users, apartSince) && !isExplained) {
    add("behind", "reconcile", `Behind: ${many(users.here, users.what)} in the replica, ${count(users.there)} at the source`, "If it stays so, compare, below, to see who differs.");
  }
  for (const replay of replays) {
    if (replay.state === "running" && replay.trouble) add("look", "replay", `A replay does not get on: ${replay.trouble}`);
    else if (replay.state === "running") add("busy", "replay", `A replay is under way: ${count(replay.published)} of ${count(replay.expected)}`);
  }
  if (!found.length) add("quiet", "pipe", "Quiet: nothing waits, and heartbeats arrive", inStep(near.figures, far.figures));
  const order = (trouble) => LEVELS.indexOf(trouble.level);
  return found.sort((one, other) => order(one) - order(other));
}

/**
 * How many users the replica has and how many the source, or tombstones if some are missing; null
 * where they agree, or an end does not answer.
 */
export function apart({ near, far }) {
  if (!near.figures || near.error || !far.figures || far.error) return null;
  const [a, b] = [near.figures, far.figures];
  if (a.users !== b.users) return { here: b.users, there: a.users, what: "user" };
  if (a.users_deleted > b.users_deleted) return { here: b.users_deleted, there: a.users_deleted, what: "tombstone" };
  return null;
}

/** Whether they are apart for longer than events take, or by more than arrive meanwhile. */
const isLate = ({ here, there }, since) =>
  Math.abs(there - here) > APART_MAX || (since !== null && Date.now() - since > APART_MS_MAX);

/** Why nothing is heard of an end. */
function silence(end, error) {
  if (error.status) return `${NAMES[end]} cannot tell how it is (${error.status}, ${error.title})`;
  if (error.service === "auth" && end === "far") return "The blog service cannot be asked: our access has expired, and the auth service does not renew it";
  return `${NAMES[end]} does not answer`;
}

/** What lets somebody go back to sleep. */
function inStep(a, b) {
  if (!a || !b || b.last_reconcile !== "in_step") return "";
  const lag = b.lag_seconds === null ? "" : ` Lag ${span(b.lag_seconds)}.`;
  return `${many(a.users, "user")} at the source, ${count(b.users)} in the replica; in step at the comparison ${ago(b.last_reconcile_at)}.${lag}`;
}

function ofPipe(line, add, figures) {
  const [word] = line.split(":");
  const at = /stopped/.test(line) ? "parked" : /wait/.test(line) ? "over-time" : "pipe";
  const remedy = REMEDIES.find(([pattern]) => pattern.test(line))?.[1] ?? "";
  if (word === "broken") {
    const waiting = figures.unpublished ? `; ${many(figures.unpublished, "event")} wait in the outbox` : "";
    add("broken", at, `Broken: ${line.replace(/^broken: /, "")}${waiting}`, remedy);
  } else if (word === "behind") {
    add("behind", at, `Behind: ${line.replace(/^behind: /, "")}`, remedy);
  } else if (word === "publishing") {
    add("busy", "pipe", `Publishing: ${many(figures.unpublished, "event is", "events are")} on the way`);
  } else if (word === "consuming") {
    add("busy", "pipe", `Consuming: ${many(figures.queue_depth, "message waits", "messages wait")}`);
  }
}

/** Whether both ends tell of the same broker, or the far end of what the near end explains. */
function isSame(near, far) {
  if (/broker/.test(near) && /broker/.test(far)) return true;
  return near.startsWith("broken") && /no heartbeat/.test(far);
}

function ofReplica(figures, runs, add) {
  const [newest] = runs;
  const left = (figures.last_reconcile_differing ?? 0) - (figures.last_reconcile_repaired ?? 0);
  if (newest?.state === "running") {
    add("busy", "reconcile", newest.repairs.length ? "A comparison that repairs is under way" : "A comparison is under way");
  }
  if (figures.last_reconcile === "drift" && left > 0) {
    add("wrong", "reconcile", `Drift: ${many(left, "user differs", "users differ")} from the source, as of the comparison ${ago(figures.last_reconcile_at)}`, "See who and how, below; repair what may be repaired.");
  }
  if (figures.waiting_messages) {
    add("look", "pipe", `Held up: ${many(figures.waiting_messages, "message waits by itself", "messages wait by themselves")}`, `For ${figures.waiting_for}. They are tried again every few seconds; see "Messages wait by themselves" in the runbook.`);
  }
  if (figures.degraded && figures.degraded !== "messages_wait") {
    add("look", "reconcile", `Degraded: ${DEGRADED[figures.degraded] ?? figures.degraded}; a comparison is due`, figures.reconcile_trouble ?? "The consumer makes it by itself, within seconds if it can.");
  } else if (figures.reconcile_trouble) {
    add("look", "reconcile", "Comparisons fail", figures.reconcile_trouble);
  }
  if (figures.parked_messages) {
    add("look", "parked", many(figures.parked_messages, "message is parked", "messages are parked"), "See why; redrive when the cause is mended, or discard.");
  }
  if (figures.lag_seconds > LAG_SECONDS_MAX) {
    add("look", "over-time", `Late: an event took ${span(figures.lag_seconds)} to arrive, in the last minute`);
  }
}

/** How each station of the picture does: {level, figure, lines} by its name. */
export function stations({ near, far, apartSince = null }) {
  const a = near.figures;
  const b = far.figures;
  const aged = (told, station) => (told.figures && !told.error ? station : { ...station, level: "unknown" });
  const isReplaying = Boolean(a?.replay) && !near.error;
  const nothing = { level: "unknown", figure: "?", lines: [] };
  return {
    source: a ? aged(near, source(a)) : nothing,
    outbox: a ? aged(near, outbox(a)) : nothing,
    relay: a ? aged(near, relay(a)) : nothing,
    broker: broker(a, b, near, far, isReplaying),
    consumer: b ? aged(far, consumer(b, isReplaying)) : nothing,
    replica: b ? aged(far, replica(b, apart({ near, far }), apartSince)) : nothing,
    parked: b ? aged(far, parked(b)) : nothing,
    compared: b ? aged(far, compared(b)) : { ...nothing, figure: "not known" },
  };
}

const source = (a) => ({
  level: "quiet",
  figure: many(a.users, "user"),
  lines: [a.users_deleted ? `and ${many(a.users_deleted, "tombstone")}` : "no tombstones"],
});

function outbox(a) {
  const isLate = a.unpublished && a.oldest_unpublished_age_seconds > UNPUBLISHED_SECONDS_MAX;
  return {
    level: isLate ? "behind" : a.unpublished ? "busy" : "quiet",
    figure: a.unpublished ? `${count(a.unpublished)} wait` : "empty",
    lines: a.unpublished ? [`the oldest for ${age(a.oldest_unpublished_age_seconds)}`] : ["all is published"],
  };
}

function relay(a) {
  if (a.relay !== "active") return { level: "broken", figure: "none active", lines: ["no relay has the lock"] };
  const beat = a.last_heartbeat_age_seconds;
  const lines = [beat === null ? "no heartbeat yet" : `heartbeat ${age(beat)} ago`];
  if (a.trouble) return { level: "broken", figure: "in trouble", lines: [a.trouble] };
  if (a.replay) lines.push(`replay ${count(a.replay_published)} of ${count(a.replay_expected)}`);
  const isSilent = a.pipe.startsWith("broken");
  return { level: isSilent ? "broken" : a.replay ? "busy" : "quiet", figure: "active", lines };
}

/** How many messages wait for the blog, as a relay saw a moment ago; null when none did. */
function seenByRelay(a, near) {
  if (!a || near.error) return null;
  const found = a.queues?.find(({ name }) => name === QUEUE);
  return found && found.age_seconds <= SEEN_SECONDS_MAX ? found.messages : null;
}

function broker(a, b, near, far, isReplaying) {
  const isAway = a && !near.error && /broker is away|does not confirm/.test(a.trouble ?? "");
  if (isAway) return { level: "broken", figure: "away", lines: ["says the relay"] };
  if (!b || far.error || !b.consumers) {
    const waiting = seenByRelay(a, near);
    if (waiting === null) return { level: "unknown", figure: "?", lines: ["nobody tells"] };
    const level = waiting > DEPTH_MAX ? "behind" : waiting ? "busy" : "quiet";
    return { level, figure: waiting ? `${count(waiting)} wait` : "empty", lines: ["says the relay"] };
  }
  if (b.queue_depth === null) return { level: "broken", figure: "away", lines: ["or without our queue,", "says the consumer"] };
  const lines = [`replay queue ${count(b.replay_queue_depth ?? 0)}`];
  if (b.dead_queue_depth) lines.push(`dead queue ${count(b.dead_queue_depth)}`);
  return {
    level: b.queue_depth > DEPTH_MAX ? "behind" : b.queue_depth || b.replay_queue_depth || isReplaying ? "busy" : "quiet",
    figure: b.queue_depth ? `${count(b.queue_depth)} wait` : "empty",
    lines,
  };
}

function consumer(b, isReplaying) {
  if (!b.consumers) {
    const heard = b.consumer_age_seconds === null ? "never heard of" : `last heard of ${age(b.consumer_age_seconds)} ago`;
    return { level: "broken", figure: "none alive", lines: [heard] };
  }
  if (b.consumers_stopped === b.consumers) return { level: "broken", figure: "stopped", lines: ["too much was parked"] };
  const lag = b.lag_seconds === null ? "nothing in the last minute" : `lag ${span(b.lag_seconds)} at worst`;
  const beat = b.last_heartbeat_age_seconds;
  const lines = [lag, beat === null ? "no heartbeat yet" : `heartbeat ${age(beat)} old`];
  const isLate = b.lag_seconds > LAG_SECONDS_MAX || beat > HEARTBEAT_SECONDS_MAX;
  return { level: isLate ? "look" : isReplaying || b.queue_depth ? "busy" : "quiet", figure: b.consumers === 1 ? "alive" : `${count(b.consumers)} alive`, lines };
}

function replica(b, users, apartSince) {
  const lines = [b.users_deleted ? `and ${many(b.users_deleted, "tombstone")}` : "no tombstones"];
  if (b.users_provisional) lines.push(`${count(b.users_provisional)} provisional`);
  const figure = many(b.users, "user");
  if (!users) return { level: b.degraded ? "look" : "quiet", figure, lines };
  const missing = users.there - users.here;
  lines.unshift(missing > 0 ? `${many(missing, users.what)} behind` : `${count(-missing)} more than there`);
  return { level: isLate(users, apartSince) ? "behind" : b.degraded ? "look" : "busy", figure, lines };
}

const parked = (b) => ({
  level: b.parked_messages ? "look" : "quiet",
  figure: b.parked_messages ? `${count(b.parked_messages)} parked` : "none parked",
  lines: [],
});

function compared(b) {
  if (b.last_reconcile === null) return { level: "look", figure: "never compared", lines: [] };
  const when = ago(b.last_reconcile_at);
  const left = b.last_reconcile_differing - b.last_reconcile_repaired;
  if (b.last_reconcile === "in_step") return { level: "quiet", figure: `in step: none of ${count(b.last_reconcile_users)} differs, compared ${when}`, lines: [] };
  return { level: "wrong", figure: `drift: ${count(left)} of ${count(b.last_reconcile_users)} ${left === 1 ? "differs" : "differ"}, compared ${when}`, lines: [] };
}
