// Answer the conformance kit: node conformance.js tokens|digests reads its question as JSON.

import { readFileSync } from "node:fs";
import { versionsRoot } from "./digests.js";
import { verifier } from "./tokens.js";

const asked = JSON.parse(readFileSync(0, "utf-8"));
if (process.argv[2] === "tokens") {
  const verify = verifier({ ...asked, now: () => asked.now });
  for (const token of asked.tokens) {
    const valid = await verify(token).then(() => true, () => false);
    console.log(JSON.stringify({ valid }));
  }
} else {
  const tombstones = asked.rows.filter((row) => row.deleted_at !== null).length;
  const users = asked.rows.length - tombstones;
  console.log(JSON.stringify({ users, tombstones, versions_root: versionsRoot(asked.rows) }));
}
