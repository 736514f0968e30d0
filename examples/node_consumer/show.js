// Print the table of users, or what is parked, as JSON lines: node show.js users|parked

import pg from "pg";

const QUERIES = {
  users: "SELECT row_to_json(users)::text AS line FROM users",
  parked: "SELECT row_to_json(parked)::text AS line FROM parked",
};

const pool = new pg.Pool({ connectionString: process.env.SEARCH_DATABASE_URL });
const { rows } = await pool.query(QUERIES[process.argv[2]]);
for (const { line } of rows) console.log(line);
await pool.end();
