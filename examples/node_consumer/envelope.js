// A message to what it says: CloudEvents 1.0 in binary mode, over AMQP.
//
// Attributes are headers, in either spelling of the AMQP binding; the data are the JSON body. A
// deletion is read from its headers alone, so that a later schema cannot block it.

import { readTime } from "./times.js";

const BODY_BYTES_MAX = 64 * 1024;
const ATTRIBUTE_LENGTH_MAX = 512;
const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i;
const ABOUT_USERS = ["user.created", "user.updated", "user.deleted"];
const ABOUT_OTHERS = ["sync.heartbeat", "key.revoked", "service.changed"];

/** The message cannot be read; `reason` is stable, and quotes nothing of it. */
export class Unreadable extends Error {
  constructor(reason) {
    super(reason);
    this.reason = reason;
  }
}

/** Return the state of the user that a message is about, or null; throw `Unreadable`. */
export function readState(message) {
  const headers = message.properties.headers ?? {};
  const prefix = "cloudEvents_specversion" in headers ? "cloudEvents_" : "cloudEvents:";
  const read = (name) => headers[prefix + name];
  if (read("specversion") !== "1.0") throw new Unreadable("not_a_cloud_event");
  const type = read("type");
  if (![...ABOUT_USERS, ...ABOUT_OTHERS].includes(type)) throw new Unreadable("unknown_type");
  require_(UUID.test(text(read("id"))), "invalid_attribute");
  text(read("source"));
  const time = attributeTime(read("time"));
  number(read("sequence"), 0);
  if (ABOUT_OTHERS.includes(type)) return null;
  const subject = text(read("subject")).toLowerCase();
  require_(UUID.test(subject), "invalid_attribute");
  const version = number(read("subjectversion"), 1);
  if (type === "user.deleted") {
    require_(version !== undefined, "invalid_attribute");
    return { id: subject, version, deletedAt: time };
  }
  const state = readData(message.content, type, read("dataschema"));
  require_(state.id === subject, "invalid_data");
  require_(version === undefined || version === state.version, "invalid_data");
  return state;
}

function readData(content, type, schema) {
  require_(content.length <= BODY_BYTES_MAX, "too_large");
  require_(schema === undefined || schema === `urn:usersync:schema:${type}:1`, "unknown_schema");
  const data = parse(content);
  const tokensValidAfter = data.tokens_valid_after === null ? null : readTime(data.tokens_valid_after);
  const isValid =
    UUID.test(data.id) &&
    isInteger(data.version, 1) &&
    isText(data.email, 3, 320) &&
    typeof data.email_verified === "boolean" &&
    Array.isArray(data.roles) &&
    data.roles.length <= 32 &&
    data.roles.every((role) => isText(role, 1, 64)) &&
    ["active", "disabled"].includes(data.status) &&
    tokensValidAfter !== undefined &&
    readTime(data.created_at) !== undefined &&
    readTime(data.updated_at) !== undefined;
  require_(isValid, "invalid_data");
  const { version, email, roles, status } = data;
  return { id: data.id.toLowerCase(), version, email, roles, status, tokensValidAfter };
}

function parse(content) {
  try {
    const data = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(content));
    if (typeof data === "object" && data !== null) return data;
  } catch {
    // neither UTF-8 nor JSON
  }
  throw new Unreadable("invalid_data");
}

function text(value) {
  const isAttribute = typeof value === "string" && value !== "" && value.length <= ATTRIBUTE_LENGTH_MAX;
  require_(isAttribute, "invalid_attribute");
  return value;
}

/** Read a time: text, or an AMQP timestamp in seconds since 1970. */
function attributeTime(value) {
  const isTimestamp = typeof value === "object" && value?.["!"] === "timestamp";
  const time = readTime(isTimestamp ? new Date(value.value * 1000).toISOString() : text(value));
  require_(time !== undefined, "invalid_attribute");
  return time;
}

/** Read a number that may be missing, or be digits: versions come as text of a fixed width. */
function number(value, atLeast) {
  if (value === undefined) return undefined;
  const isNumber = typeof value === "number" || (typeof value === "string" && /^\d{1,20}$/.test(value));
  require_(isNumber && isInteger(Number(value), atLeast), "invalid_attribute");
  return Number(value);
}

const isInteger = (value, atLeast) => Number.isSafeInteger(value) && value >= atLeast;

const isText = (value, shortest, longest) => {
  if (typeof value !== "string") return false;
  const characters = [...value].length;
  return characters >= shortest && characters <= longest;
};

function require_(isTrue, reason) {
  if (!isTrue) throw new Unreadable(reason);
}
