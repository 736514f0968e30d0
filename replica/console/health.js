// Diagnosis: what is wrong, and where to look. Pure: takes figures, returns sentences.

import { age, ago, capital, count, many, now, perSecond, span } from "./phrases.js";

// From worst to best. Figures of level `unknown` are out of date.
const LEVELS = ["broken", "wrong", "behind", "look", "busy", "quiet"];

const LAG_SECONDS_MAX = 5; // an event takes milliseconds; a slower one waited for something
const UNPUBLISHED_SECONDS_MAX = 5;
const DEPTH_MAX = 1_000;
export const HEARTBEAT_SECONDS_MAX = 45;
const QUEUE = "blog.users";
const SEEN_SECONDS_MAX = 20; // four measurements of the relay
const APART_MAX = 10; // the two services are not read at the same moment
const APART_MS_MAX = 10_000;

const REMEDIES = [
  [/no relay is active/, "Start auth-service relay, or check its log. Nothing is lost: events wait in the outbox."],
  [/broker is away|no broker/, "RabbitMQ is down or refuses connections. Nothing is lost: the events are sent when it is back."],
  [/no queue is bound/, "Start blog-service consumer, which declares and binds the queue. Events wait in the outbox."],
  [/refuses events/, "A policy limits the queue: start the consumer, or remove the policy."],
  [/does not confirm/, "The broker has a disk or memory alarm, or a network partition: run rabbitmq-diagnostics alarms."],
  [/consumer has stopped/, "Too many messages in a row were parked for the same reason. Look at the parked messages, fix the cause, then restart the consumer."],
  [/no consumer/, "Start blog-service consumer, or check its log. Nothing is lost: messages wait in the queue."],
  [/no heartbeat/, "No messages arrive. Check that the relay publishes to the same broker, and that the queue is bound."],
  [/messages wait/, "Many events at once, or a slow database: check the consumer's log. A second consumer helps."],
  [/events wait/, "The relay makes no progress: check its log."],
];

const NAMES = { near: "The auth service", far: "The blog service" };
const COMMANDS = { near: "auth-service api", far: "blog-service api" };

const DEGRADED = {
  empty: "the replica was never compared, or has lost all its users",
  gap: "messages were lost",
  queue_lost: "the queue was lost with its messages",
  backwards: "the source was restored to an earlier state",
};

/**
 * Return all problems, worst first, as {level, line, remedy, at}; never empty. `at` is the id of the
 * section to look at.
 *
 * near, far: {figures, at, error} of the auth service and the blog: the last figures, when they were
 * read, and why reading has failed since. runs: the newest comparisons; replays: the newest ones.
 */
export function troubles({ near, far, runs, replays, apartSince = null }) {
  const found = [];
  const add = (level, at, line, remedy = "") => found.push({ level, at, line, remedy });

  for (const [end, { figures, at, error }] of Object.entries({ near, far })) {
    if (!error) continue;
    const since = at ? ` for ${age((Date.now() - at) / 1000)}` : "";
    add("broken", "pipe", `${silence(end, error)}${since}`, `Check the log and /readyz of ${COMMANDS[end]}. Its figures are as old as the diagram says.`);
  }
  for (const [end, { figures, error }] of Object.entries({ near, far })) {
    if (error || !figures?.clock) continue;
    add("look", "pipe", `${NAMES[end]}'s database had a wrong clock: it ${figures.clock.replace(/: see .*/, "")}`, 'See "A clock ran ahead" in the runbook: tokens and links issued meanwhile may have to be revoked.');
  }
  const isNear = near.figures && !near.error;
  const isFar = far.figures && !far.error;
  if (isNear) ofPipe(near.figures.pipe, add, near.figures);
  if (isFar && !(isNear && isSame(near.figures.pipe, far.figures.pipe))) {
    // Without a consumer the blog's API does not know the depth of the queue; the relay does.
    const waiting = far.figures.consumers ? null : seenByRelay(near.figures, near);
    const more = waiting && !/wait/.test(far.figures.pipe) ? `; ${many(waiting, "message waits", "messages wait")}` : "";
    ofPipe(far.figures.pipe + more, add, far.figures);
  }
  if (isFar) ofReplica(far.figures, runs, add);
  const users = apart({ near, far });
  const isExplained = found.some(({ level }) => ["broken", "wrong", "behind"].includes(level));
  if (users && isLate(users, apartSince) && !isExplained) {
    add("behind", "reconcile", `Behind: ${many(users.here, users.what)} in the replica, ${count(users.there)} at the source`, "If this persists, compare below to see which users differ.");
  }
  for (const replay of replays) {
    if (replay.state === "running" && replay.trouble) add("look", "replay", `A replay makes no progress: ${replay.trouble}`);
    else if (replay.state === "running") add("busy", "replay", `A replay is running: ${count(replay.published)} of ${count(replay.expected)}`);
  }
  if (!found.length) add("quiet", "pipe", quiet(far.figures), inStep(near.figures, far.figures));
  const order = (trouble) => LEVELS.indexOf(trouble.level);
  return found.sort((one, other) => order(one) - order(other));
}

/**
 * Return the numbers of users in the replica and at the source, or of tombstones if some are
 * missing; null if they agree or a service is not responding.
 */
export function apart({ near, far }) {
  if (!near.figures || near.error || !far.figures || far.error) return null;
  const [a, b] = [near.figures, far.figures];
  if (a.users !== b.users) return { here: b.users, there: a.users, what: "user" };
  if (a.users_deleted > b.users_deleted) return { here: b.users_deleted, there: a.users_deleted, what: "tombstone" };
  return null;
}

/** Tell whether the difference is older or larger than events in flight explain. */
const isLate = ({ here, there }, since) =>
  Math.abs(there - here) > APART_MAX || (since !== null && Date.now() - since > APART_MS_MAX);

/** Say why a service's figures are missing. */
function silence(end, error) {
  if (error.status) return `${NAMES[end]} cannot report its status (${error.status}, ${error.title})`;
  if (error.service === "auth" && end === "far") return "The blog service cannot be read: your access has expired, and the auth service is not responding";
  return `${NAMES[end]} is not responding`;
}

/** Say that nothing is wrong; with a proof, that the replica equals its source. */
function quiet(b) {
  const found = b && verdict(b);
  if (found?.by !== "proof") return "Quiet: nothing is waiting, and heartbeats arrive";
  return `Quiet, proved ${found.when}: ${many(found.users, "user")}, 0 differ`;
}

/** Summarise a system that is in step. */
function inStep(a, b) {
  if (!a || !b || verdict(b)?.left !== 0) return "";
  const lag = b.lag_seconds === null ? "" : ` Lag ${span(b.lag_seconds)}.`;
  const compared = b.last_reconcile_at ? `; whole tables compared ${ago(b.last_reconcile_at)}` : "";
  return `${many(a.users, "user")} at the source, ${count(b.users)} in the replica${compared}.${lag}`;
}

/**
 * Return what was found last, by a proof or by a comparison of whole tables, as {by, left, users,
 * when, remedy}; null if neither says anything about now.
 */
function verdict(b) {
  const proof = b.proof && b.proof.state !== "unknown" ? b.proof : null;
  const proved = proof && now() - proof.age_seconds * 1000;
  const compared = b.last_reconcile && Date.parse(b.last_reconcile_at);
  if (proof && (!compared || proved >= compared)) {
    const remedy = /\((.*)\)$/.exec(proof.text)?.[1] ?? "";
    return { by: "proof", left: proof.differing, users: proof.users, when: `${age(proof.age_seconds)} ago`, remedy };
  }
  if (!compared) return null;
  const left = (b.last_reconcile_differing ?? 0) - (b.last_reconcile_repaired ?? 0);
  return { by: "comparison", left, users: b.last_reconcile_users, when: ago(b.last_reconcile_at), remedy: "See below which users differ and how, then repair." };
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

/** Tell whether both services report the same problem, or the near one's explains the far one's. */
function isSame(near, far) {
  if (/broker/.test(near) && /broker/.test(far)) return true;
  return near.startsWith("broken") && /no heartbeat/.test(far);
}

function ofReplica(figures, runs, add) {
  const [newest] = runs;
  const last = verdict(figures);
  if (newest?.state === "running") {
    add("busy", "reconcile", newest.repairs.length ? "A comparison with repairs is running" : "A comparison is running");
  }
  if (last?.left > 0) {
    add("wrong", "reconcile", `Drift: ${many(last.left, "user differs", "users differ")} from the source, as of the ${last.by} ${last.when}`, last.remedy);
  }
  if (figures.degraded === "not_proved") add("look", "reconcile", capital(figures.proof.text), 'See "The replica is not proved" in the runbook.');
  if (figures.waiting_messages) {
    add("look", "pipe", `Delayed: ${many(figures.waiting_messages, "message is set aside", "messages are set aside")}`, `Waiting for ${figures.waiting_for}. Each is retried every few seconds; see "Messages wait by themselves" in the runbook.`);
  }
  if (DEGRADED[figures.degraded]) {
    add("look", "reconcile", `Degraded: ${DEGRADED[figures.degraded]}; a comparison is due`, figures.reconcile_trouble ?? "The consumer compares automatically, within seconds if it can.");
  } else if (figures.reconcile_trouble) {
    add("look", "reconcile", "Comparisons fail", figures.reconcile_trouble);
  }
  if (figures.parked_messages) {
    add("look", "parked", many(figures.parked_messages, "message is parked", "messages are parked"), "Check the reasons; redrive once the cause is fixed, or discard.");
  }
  if (figures.lag_seconds > LAG_SECONDS_MAX) {
    add("look", "over-time", `Late: in the last minute an event took ${span(figures.lag_seconds)} to arrive`);
  }
}

/** Return the state of each station of the diagram: {level, figure, lines} by name. */
export function stations({ near, far, rates, apartSince = null }) {
  const a = near.figures;
  const b = far.figures;
  const aged = (end, station) => (end.figures && !end.error ? station : { ...station, level: "unknown" });
  const isReplaying = Boolean(a?.replay) && !near.error;
  const nothing = { level: "unknown", figure: "?", lines: [] };
  return {
    source: a ? aged(near, source(a)) : nothing,
    outbox: a ? aged(near, outbox(a)) : nothing,
    relay: a ? aged(near, relay(a, rates?.published)) : nothing,
    broker: broker(a, b, near, far, isReplaying),
    consumer: b ? aged(far, consumer(b, isReplaying, rates?.applied)) : nothing,
    replica: b ? aged(far, replica(b, apart({ near, far }), apartSince)) : nothing,
    parked: b ? aged(far, parked(b)) : nothing,
    compared: b ? aged(far, compared(b)) : { ...nothing, figure: "unknown" },
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
    figure: a.unpublished ? `${count(a.unpublished)} unsent` : "empty",
    lines: a.unpublished ? [`the oldest for ${age(a.oldest_unpublished_age_seconds)}`] : ["all is published"],
  };
}

/** Say how fast something happens, if that is known. */
const pace = (rate, word) => (rate === null || rate === undefined ? [] : [`${perSecond(rate)} ${word}`]);

function relay(a, published) {
  if (a.relay !== "active") return { level: "broken", figure: "none active", lines: ["no relay has the lock"] };
  const beat = a.last_heartbeat_age_seconds;
  const lines = [beat === null ? "no heartbeat yet" : `heartbeat ${age(beat)} ago`];
  if (a.trouble) return { level: "broken", figure: "in trouble", lines: [a.trouble] };
  // A station has room for three lines, on a phone for two.
  if (a.replay) lines.push(`replay ${count(a.replay_published)} of ${count(a.replay_expected)}`);
  else lines.push(...pace(published, "published"));
  const isSilent = a.pipe.startsWith("broken");
  return { level: isSilent ? "broken" : a.replay ? "busy" : "quiet", figure: "active", lines };
}

/** Return how many messages wait for the blog, by the relay's last measurement; null if unknown. */
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
    if (waiting === null) return { level: "unknown", figure: "?", lines: ["no figures"] };
    const level = waiting > DEPTH_MAX ? "behind" : waiting ? "busy" : "quiet";
    return { level, figure: waiting ? `${count(waiting)} queued` : "empty", lines: ["says the relay"] };
  }
  if (b.queue_depth === null) return { level: "broken", figure: "away", lines: ["or without the queue,", "says the consumer"] };
  const lines = [`replay queue ${count(b.replay_queue_depth ?? 0)}`];
  if (b.urgent_queue_depth) lines.push(`urgent queue ${count(b.urgent_queue_depth)}`);
  if (b.dead_queue_depth) lines.push(`dead queue ${count(b.dead_queue_depth)}`);
  return {
    level: b.queue_depth > DEPTH_MAX ? "behind" : b.queue_depth || b.replay_queue_depth || isReplaying ? "busy" : "quiet",
    figure: b.queue_depth ? `${count(b.queue_depth)} queued` : "empty",
    lines,
  };
}

function consumer(b, isReplaying, applied) {
  if (!b.consumers) {
    const seen = b.consumer_age_seconds === null ? "never seen" : `last seen ${age(b.consumer_age_seconds)} ago`;
    return { level: "broken", figure: "none alive", lines: [seen] };
  }
  if (b.consumers_stopped === b.consumers) return { level: "broken", figure: "stopped", lines: ["too many parked"] };
  const lag = b.lag_seconds === null ? "nothing in the last minute" : `worst lag ${span(b.lag_seconds)}`;
  const beat = b.last_heartbeat_age_seconds;
  const isBeatLate = beat === null || beat > HEARTBEAT_SECONDS_MAX;
  const rate = isBeatLate ? [] : pace(applied, "applied");
  const lines = [lag, ...(rate.length ? rate : [beat === null ? "no heartbeat yet" : `heartbeat ${age(beat)} old`])];
  const isLate = b.lag_seconds > LAG_SECONDS_MAX || beat > HEARTBEAT_SECONDS_MAX;
  return { level: isLate ? "look" : isReplaying || b.queue_depth ? "busy" : "quiet", figure: b.consumers === 1 ? "alive" : `${count(b.consumers)} alive`, lines };
}

function replica(b, users, apartSince) {
  const lines = [b.users_deleted ? `and ${many(b.users_deleted, "tombstone")}` : "no tombstones"];
  if (b.users_provisional) lines.push(`${count(b.users_provisional)} provisional`);
  const figure = many(b.users, "user");
  if (!users) return { level: b.degraded ? "look" : "quiet", figure, lines };
  const missing = users.there - users.here;
  lines.unshift(missing > 0 ? `${many(missing, users.what)} behind` : `${count(-missing)} too many`);
  return { level: isLate(users, apartSince) ? "behind" : b.degraded ? "look" : "busy", figure, lines };
}

const parked = (b) => ({
  level: b.parked_messages ? "look" : "quiet",
  figure: b.parked_messages ? `${count(b.parked_messages)} parked` : "none parked",
  lines: [],
});

function compared(b) {
  const last = verdict(b);
  if (!last) return { level: "look", figure: "never compared", lines: [] };
  const how = `${last.by === "proof" ? "proved" : "compared"} ${last.when}`;
  if (!last.left) return { level: "quiet", figure: `in step: 0 of ${count(last.users)} differ, ${how}`, lines: [] };
  return { level: "wrong", figure: `drift: ${count(last.left)} of ${count(last.users)} ${last.left === 1 ? "differs" : "differ"}, ${how}`, lines: [] };
}
