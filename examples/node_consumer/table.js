// The copy of the users, and what could not be read, in PostgreSQL.
//
// However often and in whichever order states arrive, the row is that of the highest version, or of
// a tombstone, of which nothing personal is left.

const TABLES = `
  CREATE TABLE IF NOT EXISTS users (
    id uuid PRIMARY KEY,
    version bigint NOT NULL,
    email text,
    roles text[] NOT NULL,
    status text NOT NULL,
    tokens_valid_after timestamptz,
    deleted_at timestamptz
  );
  CREATE TABLE IF NOT EXISTS parked (
    message_id text PRIMARY KEY,
    reason text NOT NULL,
    at timestamptz NOT NULL DEFAULT now()
  );
`;

const MERGE = `
  INSERT INTO users AS present (id, version, email, roles, status, tokens_valid_after, deleted_at)
  VALUES ($1, $2, $3, $4, $5, $6, $7)
  ON CONFLICT (id) DO UPDATE SET
    version = excluded.version, email = excluded.email, roles = excluded.roles,
    status = excluded.status, tokens_valid_after = excluded.tokens_valid_after,
    deleted_at = excluded.deleted_at
  WHERE (present.deleted_at IS NOT NULL, present.version)
      < (excluded.deleted_at IS NOT NULL, excluded.version)
`;

const PARK = "INSERT INTO parked (message_id, reason) VALUES ($1, $2) ON CONFLICT DO NOTHING";

export async function createTables(pool) {
  await pool.query(TABLES);
}

/** Merge a state of a user into the table. */
export async function merge(pool, state) {
  const { id, version, email, roles, status, tokensValidAfter, deletedAt } = state;
  const left = deletedAt === undefined ? status : "deleted";
  await pool.query(MERGE, [id, version, email, roles ?? [], left, tokensValidAfter, deletedAt]);
}

/** Note that a message cannot be read or applied; itself, it goes to the dead-letter queue. */
export async function park(pool, messageId, reason) {
  await pool.query(PARK, [messageId, reason]);
}

/** Whether an error of the database is the message's own fault, and would come again. */
export const isMessagesFault = (error) => /^2[23]/.test(error.code ?? "");
