// Keep a copy of the users: read messages, merge their states, park what cannot be read.
//
// A message is acknowledged when its effect is committed. If the broker or the database is away,
// the process ends, the broker keeps the messages, and a supervisor starts it again.

import amqp from "amqplib";
import pg from "pg";
import { Unreadable, readState } from "./envelope.js";
import { createTables, isMessagesFault, merge, park } from "./table.js";
import { declare } from "./topology.js";

const SERVICE = "search";
const PREFETCH = 100;

const pool = new pg.Pool({ connectionString: setting("SEARCH_DATABASE_URL") });
const connection = await amqp.connect(setting("SEARCH_AMQP_URL"), { heartbeat: 10 });
connection.on("error", fail);
connection.on("close", () => fail(new Error("the broker has closed the connection")));
pool.on("error", fail);

await createTables(pool);
const channel = await connection.createChannel();
const queues = await declare(channel, SERVICE);
await channel.close();
for (const queue of queues) await consume(queue);
console.log("consuming");

/** Read a queue on a channel of its own, one message after the other. */
async function consume(queue) {
  const own = await connection.createChannel();
  own.on("error", fail);
  await own.prefetch(PREFETCH);
  let earlier = Promise.resolve();
  await own.consume(queue, (message) => {
    if (message === null) return fail(new Error(`${queue} was deleted`));
    earlier = earlier.then(() => settle(own, message)).catch(fail);
  });
}

async function settle(own, message) {
  const reason = await reasonToPark(message);
  if (reason === undefined) return own.ack(message);
  await park(pool, message.properties.messageId ?? "without an id", reason);
  console.warn(`parked: ${reason}`);
  own.nack(message, false, false);
}

/** Apply a message; return why it has to be parked, if so. */
async function reasonToPark(message) {
  try {
    const state = readState(message);
    if (state !== null) await merge(pool, state);
  } catch (error) {
    if (error instanceof Unreadable) return error.reason;
    if (isMessagesFault(error)) return "not_applicable";
    throw error;
  }
}

function setting(name) {
  if (!process.env[name]) fail(new Error(`${name} is not set`));
  return process.env[name];
}

function fail(error) {
  console.error(`ended: ${error.message}`);
  process.exit(1);
}
