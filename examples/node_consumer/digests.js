// The digests by which a copy is compared with its source, as contracts/sync/digest.py defines them.
//
// Those of versions: they need no other field, and every copy has them.

import { createHash } from "node:crypto";

const BUCKETS = 4096;
const DIGEST_BYTES = 16;

const sha256 = (octets) => createHash("sha256").update(octets).digest();

/** The digest of a row: of its id, its version, and whether it is deleted. */
export function versionDigest({ id, version, deleted_at }) {
  const versionOctets = Buffer.alloc(8);
  versionOctets.writeBigInt64BE(BigInt(version));
  const letter = Buffer.from(deleted_at === null ? "L" : "D");
  return sha256(Buffer.concat([letter, idOctets(id), versionOctets])).subarray(0, DIGEST_BYTES);
}

/** The SHA-256 of the sums of all buckets, in hexadecimal: equal roots are equal tables. */
export function versionsRoot(rows) {
  const sums = Buffer.alloc(BUCKETS * DIGEST_BYTES);
  for (const row of rows) {
    const digest = versionDigest(row);
    const start = (idOctets(row.id).readUInt16BE(14) % BUCKETS) * DIGEST_BYTES;
    for (let lane = 0; lane < DIGEST_BYTES; lane += 4) {
      const sum = sums.readUInt32BE(start + lane) + digest.readUInt32BE(lane);
      sums.writeUInt32BE(sum % 2 ** 32, start + lane);
    }
  }
  return sha256(sums).toString("hex");
}

const idOctets = (id) => Buffer.from(id.replaceAll("-", ""), "hex");
