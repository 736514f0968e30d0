// The service's queues, as contracts/events/queues.py describes them. Everything here is idempotent.

const DELIVERIES_MAX = 1_000;
const REPLAY_LENGTH_MAX = 100_000;
const URGENT_LENGTH_MAX = 10_000;

/** Declare queues and bindings; return the queues to read, with the urgent one first. */
export async function declare(channel, service) {
  const [live, dead] = [`${service}.users`, `${service}.users.dead`];
  const [urgent, replay] = [`${live}.urgent`, `${service}.users.replay`];
  const deadLettered = {
    "x-delivery-limit": DELIVERIES_MAX,
    "x-dead-letter-exchange": dead,
    "x-dead-letter-strategy": "at-least-once",
    "x-overflow": "reject-publish",
  };
  await channel.assertExchange(dead, "fanout", { durable: true });
  await quorum(channel, dead, {});
  await channel.bindQueue(dead, dead, "");
  await quorum(channel, replay, { ...deadLettered, "x-max-length": REPLAY_LENGTH_MAX });
  await quorum(channel, live, deadLettered);
  for (const key of ["user.*", "sync.heartbeat", "key.*", "service.*"]) {
    await channel.bindQueue(live, "users", key);
  }
  // After the live queue: with this one alone, the broker would confirm what only it has.
  await quorum(channel, urgent, { "x-max-length": URGENT_LENGTH_MAX, "x-overflow": "drop-head" });
  await channel.bindQueue(urgent, "users", "urgent");
  await channel.bindQueue(replay, "users.replay", service);
  return [urgent, live, replay];
}

const quorum = (channel, name, limits) =>
  channel.assertQueue(name, { durable: true, arguments: { "x-queue-type": "quorum", ...limits } });
