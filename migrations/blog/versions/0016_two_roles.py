"""Digest a user with two roles without a call of a function, which took longer than five users.

The digests are the same, so a downgrade leaves the function as it is.
"""

from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

FUNCTION = """
CREATE OR REPLACE FUNCTION count_in_digests() RETURNS trigger
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
    BEGIN CASE TG_OP WHEN 'INSERT' THEN INSERT INTO digest_changes (bucket, users,
    tombstones, state1, state2, state3, state4, versions1, versions2, versions3, versions4)
    SELECT bucket, users, tombstones, ((state1 << 32) >> 32)::integer, ((state2 << 32) >>
    32)::integer, ((state3 << 32) >> 32)::integer, ((state4 << 32) >> 32)::integer,
    ((versions1 << 32) >> 32)::integer, ((versions2 << 32) >> 32)::integer, ((versions3 <<
    32) >> 32)::integer, ((versions4 << 32) >> 32)::integer FROM (SELECT bucket AS bucket,
    count(*) FILTER (WHERE is_living) AS users, count(*) FILTER (WHERE NOT is_living) AS
    tombstones, sum(((get_byte(state, 0) << 24) | (get_byte(state, 1) << 16) |
    (get_byte(state, 2) << 8) | get_byte(state, 3))) AS state1, sum(((get_byte(state, 4) <<
    24) | (get_byte(state, 5) << 16) | (get_byte(state, 6) << 8) | get_byte(state, 7))) AS
    state2, sum(((get_byte(state, 8) << 24) | (get_byte(state, 9) << 16) | (get_byte(state,
    10) << 8) | get_byte(state, 11))) AS state3, sum(((get_byte(state, 12) << 24) |
    (get_byte(state, 13) << 16) | (get_byte(state, 14) << 8) | get_byte(state, 15))) AS
    state4, sum(((get_byte(versions, 0) << 24) | (get_byte(versions, 1) << 16) |
    (get_byte(versions, 2) << 8) | get_byte(versions, 3))) AS versions1,
    sum(((get_byte(versions, 4) << 24) | (get_byte(versions, 5) << 16) | (get_byte(versions,
    6) << 8) | get_byte(versions, 7))) AS versions2, sum(((get_byte(versions, 8) << 24) |
    (get_byte(versions, 9) << 16) | (get_byte(versions, 10) << 8) | get_byte(versions, 11)))
    AS versions3, sum(((get_byte(versions, 12) << 24) | (get_byte(versions, 13) << 16) |
    (get_byte(versions, 14) << 8) | get_byte(versions, 15))) AS versions4 FROM (( SELECT
    (((get_byte(uuid_send(users.id), 14) & 15) << 8) | get_byte(uuid_send(users.id), 15)) AS
    bucket, users.deleted_at IS NULL AS is_living, 0 AS sign, sha256(coalesce(CASE WHEN
    users.deleted_at IS NULL THEN 'U'::bytea || uuid_send(users.id) ||
    int8send(users.version) || int4send(length(users.email)) || convert_to(users.email,
    'UTF8') || boolsend(users.email_verified) || CASE cardinality(users.roles) WHEN 0 THEN
    int4send(0) WHEN 1 THEN int4send(1) || int4send(length(users.roles[1])) ||
    convert_to(users.roles[1], 'UTF8') WHEN 2 THEN CASE WHEN users.roles[1] = users.roles[2]
    THEN int4send(1) || int4send(length(users.roles[1])) || convert_to(users.roles[1],
    'UTF8') WHEN users.roles[1] < users.roles[2] COLLATE "C" THEN int4send(2) ||
    int4send(length(users.roles[1])) || convert_to(users.roles[1], 'UTF8') ||
    int4send(length(users.roles[2])) || convert_to(users.roles[2], 'UTF8') ELSE int4send(2)
    || int4send(length(users.roles[2])) || convert_to(users.roles[2], 'UTF8') ||
    int4send(length(users.roles[1])) || convert_to(users.roles[1], 'UTF8') END ELSE
    digest_roles(users.roles) END || int4send(length(users.status)) ||
    convert_to(users.status, 'UTF8') || coalesce(boolsend(true) ||
    timestamptz_send(users.tokens_valid_after), boolsend(false)) ||
    timestamptz_send(users.created_at) || timestamptz_send(users.updated_at) ELSE 'T'::bytea
    || uuid_send(users.id) || int8send(users.version) || timestamptz_send(users.deleted_at)
    END, 'X'::bytea || uuid_send(users.id))) AS state, sha256(CASE WHEN users.deleted_at IS
    NULL THEN 'L'::bytea ELSE 'D'::bytea END || uuid_send(users.id) ||
    int8send(users.version)) AS versions FROM after AS users WHERE CASE WHEN
    users.deleted_at IS NULL THEN true ELSE NOT EXISTS ( SELECT FROM orphan_tombstones AS
    orphan WHERE orphan.id = users.id AND orphan.version = users.version ) END OFFSET NULL
    )) AS digested GROUP BY bucket) AS sums WHERE users <> 0 OR tombstones <> 0 OR (state1 &
    4294967295) <> 0 OR (state2 & 4294967295) <> 0 OR (state3 & 4294967295) <> 0 OR (state4
    & 4294967295) <> 0 OR (versions1 & 4294967295) <> 0 OR (versions2 & 4294967295) <> 0 OR
    (versions3 & 4294967295) <> 0 OR (versions4 & 4294967295) <> 0 ; WHEN 'UPDATE' THEN
    INSERT INTO digest_changes (bucket, users, tombstones, state1, state2, state3, state4,
    versions1, versions2, versions3, versions4) SELECT bucket, users, tombstones, ((state1
    << 32) >> 32)::integer, ((state2 << 32) >> 32)::integer, ((state3 << 32) >>
    32)::integer, ((state4 << 32) >> 32)::integer, ((versions1 << 32) >> 32)::integer,
    ((versions2 << 32) >> 32)::integer, ((versions3 << 32) >> 32)::integer, ((versions4 <<
    32) >> 32)::integer FROM (SELECT bucket AS bucket, coalesce(sum(2 * sign + 1) FILTER
    (WHERE is_living), 0) AS users, coalesce(sum(2 * sign + 1) FILTER (WHERE NOT is_living),
    0) AS tombstones, sum(((get_byte(state, 0) << 24) | (get_byte(state, 1) << 16) |
    (get_byte(state, 2) << 8) | get_byte(state, 3)) # sign) - sum(sign) AS state1,
    sum(((get_byte(state, 4) << 24) | (get_byte(state, 5) << 16) | (get_byte(state, 6) << 8)
    | get_byte(state, 7)) # sign) - sum(sign) AS state2, sum(((get_byte(state, 8) << 24) |
    (get_byte(state, 9) << 16) | (get_byte(state, 10) << 8) | get_byte(state, 11)) # sign) -
    sum(sign) AS state3, sum(((get_byte(state, 12) << 24) | (get_byte(state, 13) << 16) |
    (get_byte(state, 14) << 8) | get_byte(state, 15)) # sign) - sum(sign) AS state4,
    sum(((get_byte(versions, 0) << 24) | (get_byte(versions, 1) << 16) | (get_byte(versions,
    2) << 8) | get_byte(versions, 3)) # sign) - sum(sign) AS versions1,
    sum(((get_byte(versions, 4) << 24) | (get_byte(versions, 5) << 16) | (get_byte(versions,
    6) << 8) | get_byte(versions, 7)) # sign) - sum(sign) AS versions2,
    sum(((get_byte(versions, 8) << 24) | (get_byte(versions, 9) << 16) | (get_byte(versions,
    10) << 8) | get_byte(versions, 11)) # sign) - sum(sign) AS versions3,
    sum(((get_byte(versions, 12) << 24) | (get_byte(versions, 13) << 16) |
    (get_byte(versions, 14) << 8) | get_byte(versions, 15)) # sign) - sum(sign) AS versions4
    FROM (( SELECT (((get_byte(uuid_send(users.id), 14) & 15) << 8) |
    get_byte(uuid_send(users.id), 15)) AS bucket, users.deleted_at IS NULL AS is_living, 0
    AS sign, sha256(coalesce(CASE WHEN users.deleted_at IS NULL THEN 'U'::bytea ||
    uuid_send(users.id) || int8send(users.version) || int4send(length(users.email)) ||
    convert_to(users.email, 'UTF8') || boolsend(users.email_verified) || CASE
    cardinality(users.roles) WHEN 0 THEN int4send(0) WHEN 1 THEN int4send(1) ||
    int4send(length(users.roles[1])) || convert_to(users.roles[1], 'UTF8') WHEN 2 THEN CASE
    WHEN users.roles[1] = users.roles[2] THEN int4send(1) ||
    int4send(length(users.roles[1])) || convert_to(users.roles[1], 'UTF8') WHEN
    users.roles[1] < users.roles[2] COLLATE "C" THEN int4send(2) ||
    int4send(length(users.roles[1])) || convert_to(users.roles[1], 'UTF8') ||
    int4send(length(users.roles[2])) || convert_to(users.roles[2], 'UTF8') ELSE int4send(2)
    || int4send(length(users.roles[2])) || convert_to(users.roles[2], 'UTF8') ||
    int4send(length(users.roles[1])) || convert_to(users.roles[1], 'UTF8') END ELSE
    digest_roles(users.roles) END || int4send(length(users.status)) ||
    convert_to(users.status, 'UTF8') || coalesce(boolsend(true) ||
    timestamptz_send(users.tokens_valid_after), boolsend(false)) ||
    timestamptz_send(users.created_at) || timestamptz_send(users.updated_at) ELSE 'T'::bytea
    || uuid_send(users.id) || int8send(users.version) || timestamptz_send(users.deleted_at)
    END, 'X'::bytea || uuid_send(users.id))) AS state, sha256(CASE WHEN users.deleted_at IS
    NULL THEN 'L'::bytea ELSE 'D'::bytea END || uuid_send(users.id) ||
    int8send(users.version)) AS versions FROM after AS users WHERE CASE WHEN
    users.deleted_at IS NULL THEN true ELSE NOT EXISTS ( SELECT FROM orphan_tombstones AS
    orphan WHERE orphan.id = users.id AND orphan.version = users.version ) END OFFSET NULL )
    UNION ALL ( SELECT (((get_byte(uuid_send(users.id), 14) & 15) << 8) |
    get_byte(uuid_send(users.id), 15)) AS bucket, users.deleted_at IS NULL AS is_living, -1
    AS sign, sha256(coalesce(CASE WHEN users.deleted_at IS NULL THEN 'U'::bytea ||
    uuid_send(users.id) || int8send(users.version) || int4send(length(users.email)) ||
    convert_to(users.email, 'UTF8') || boolsend(users.email_verified) || CASE
    cardinality(users.roles) WHEN 0 THEN int4send(0) WHEN 1 THEN int4send(1) ||
    int4send(length(users.roles[1])) || convert_to(users.roles[1], 'UTF8') WHEN 2 THEN CASE
    WHEN users.roles[1] = users.roles[2] THEN int4send(1) ||
    int4send(length(users.roles[1])) || convert_to(users.roles[1], 'UTF8') WHEN
    users.roles[1] < users.roles[2] COLLATE "C" THEN int4send(2) ||
    int4send(length(users.roles[1])) || convert_to(users.roles[1], 'UTF8') ||
    int4send(length(users.roles[2])) || convert_to(users.roles[2], 'UTF8') ELSE int4send(2)
    || int4send(length(users.roles[2])) || convert_to(users.roles[2], 'UTF8') ||
    int4send(length(users.roles[1])) || convert_to(users.roles[1], 'UTF8') END ELSE
    digest_roles(users.roles) END || int4send(length(users.status)) ||
    convert_to(users.status, 'UTF8') || coalesce(boolsend(true) ||
    timestamptz_send(users.tokens_valid_after), boolsend(false)) ||
    timestamptz_send(users.created_at) || timestamptz_send(users.updated_at) ELSE 'T'::bytea
    || uuid_send(users.id) || int8send(users.version) || timestamptz_send(users.deleted_at)
    END, 'X'::bytea || uuid_send(users.id))) AS state, sha256(CASE WHEN users.deleted_at IS
    NULL THEN 'L'::bytea ELSE 'D'::bytea END || uuid_send(users.id) ||
    int8send(users.version)) AS versions FROM before AS users WHERE CASE WHEN
    users.deleted_at IS NULL THEN true ELSE NOT EXISTS ( SELECT FROM orphan_tombstones AS
    orphan WHERE orphan.id = users.id AND orphan.version = users.version ) END OFFSET NULL
    )) AS digested GROUP BY bucket) AS sums WHERE users <> 0 OR tombstones <> 0 OR (state1 &
    4294967295) <> 0 OR (state2 & 4294967295) <> 0 OR (state3 & 4294967295) <> 0 OR (state4
    & 4294967295) <> 0 OR (versions1 & 4294967295) <> 0 OR (versions2 & 4294967295) <> 0 OR
    (versions3 & 4294967295) <> 0 OR (versions4 & 4294967295) <> 0 ; WHEN 'DELETE' THEN
    INSERT INTO digest_changes (bucket, users, tombstones, state1, state2, state3, state4,
    versions1, versions2, versions3, versions4) SELECT bucket, users, tombstones, ((state1
    << 32) >> 32)::integer, ((state2 << 32) >> 32)::integer, ((state3 << 32) >>
    32)::integer, ((state4 << 32) >> 32)::integer, ((versions1 << 32) >> 32)::integer,
    ((versions2 << 32) >> 32)::integer, ((versions3 << 32) >> 32)::integer, ((versions4 <<
    32) >> 32)::integer FROM (SELECT bucket AS bucket, coalesce(sum(2 * sign + 1) FILTER
    (WHERE is_living), 0) AS users, coalesce(sum(2 * sign + 1) FILTER (WHERE NOT is_living),
    0) AS tombstones, sum(((get_byte(state, 0) << 24) | (get_byte(state, 1) << 16) |
    (get_byte(state, 2) << 8) | get_byte(state, 3)) # sign) - sum(sign) AS state1,
    sum(((get_byte(state, 4) << 24) | (get_byte(state, 5) << 16) | (get_byte(state, 6) << 8)
    | get_byte(state, 7)) # sign) - sum(sign) AS state2, sum(((get_byte(state, 8) << 24) |
    (get_byte(state, 9) << 16) | (get_byte(state, 10) << 8) | get_byte(state, 11)) # sign) -
    sum(sign) AS state3, sum(((get_byte(state, 12) << 24) | (get_byte(state, 13) << 16) |
    (get_byte(state, 14) << 8) | get_byte(state, 15)) # sign) - sum(sign) AS state4,
    sum(((get_byte(versions, 0) << 24) | (get_byte(versions, 1) << 16) | (get_byte(versions,
    2) << 8) | get_byte(versions, 3)) # sign) - sum(sign) AS versions1,
    sum(((get_byte(versions, 4) << 24) | (get_byte(versions, 5) << 16) | (get_byte(versions,
    6) << 8) | get_byte(versions, 7)) # sign) - sum(sign) AS versions2,
    sum(((get_byte(versions, 8) << 24) | (get_byte(versions, 9) << 16) | (get_byte(versions,
    10) << 8) | get_byte(versions, 11)) # sign) - sum(sign) AS versions3,
    sum(((get_byte(versions, 12) << 24) | (get_byte(versions, 13) << 16) |
    (get_byte(versions, 14) << 8) | get_byte(versions, 15)) # sign) - sum(sign) AS versions4
    FROM (( SELECT (((get_byte(uuid_send(users.id), 14) & 15) << 8) |
    get_byte(uuid_send(users.id), 15)) AS bucket, users.deleted_at IS NULL AS is_living, -1
    AS sign, sha256(coalesce(CASE WHEN users.deleted_at IS NULL THEN 'U'::bytea ||
    uuid_send(users.id) || int8send(users.version) || int4send(length(users.email)) ||
    convert_to(users.email, 'UTF8') || boolsend(users.email_verified) || CASE
    cardinality(users.roles) WHEN 0 THEN int4send(0) WHEN 1 THEN int4send(1) ||
    int4send(length(users.roles[1])) || convert_to(users.roles[1], 'UTF8') WHEN 2 THEN CASE
    WHEN users.roles[1] = users.roles[2] THEN int4send(1) ||
    int4send(length(users.roles[1])) || convert_to(users.roles[1], 'UTF8') WHEN
    users.roles[1] < users.roles[2] COLLATE "C" THEN int4send(2) ||
    int4send(length(users.roles[1])) || convert_to(users.roles[1], 'UTF8') ||
    int4send(length(users.roles[2])) || convert_to(users.roles[2], 'UTF8') ELSE int4send(2)
    || int4send(length(users.roles[2])) || convert_to(users.roles[2], 'UTF8') ||
    int4send(length(users.roles[1])) || convert_to(users.roles[1], 'UTF8') END ELSE
    digest_roles(users.roles) END || int4send(length(users.status)) ||
    convert_to(users.status, 'UTF8') || coalesce(boolsend(true) ||
    timestamptz_send(users.tokens_valid_after), boolsend(false)) ||
    timestamptz_send(users.created_at) || timestamptz_send(users.updated_at) ELSE 'T'::bytea
    || uuid_send(users.id) || int8send(users.version) || timestamptz_send(users.deleted_at)
    END, 'X'::bytea || uuid_send(users.id))) AS state, sha256(CASE WHEN users.deleted_at IS
    NULL THEN 'L'::bytea ELSE 'D'::bytea END || uuid_send(users.id) ||
    int8send(users.version)) AS versions FROM before AS users WHERE CASE WHEN
    users.deleted_at IS NULL THEN true ELSE NOT EXISTS ( SELECT FROM orphan_tombstones AS
    orphan WHERE orphan.id = users.id AND orphan.version = users.version ) END OFFSET NULL
    )) AS digested GROUP BY bucket) AS sums WHERE users <> 0 OR tombstones <> 0 OR (state1 &
    4294967295) <> 0 OR (state2 & 4294967295) <> 0 OR (state3 & 4294967295) <> 0 OR (state4
    & 4294967295) <> 0 OR (versions1 & 4294967295) <> 0 OR (versions2 & 4294967295) <> 0 OR
    (versions3 & 4294967295) <> 0 OR (versions4 & 4294967295) <> 0 ; ELSE TRUNCATE digests,
    digest_changes; END CASE; RETURN NULL; END
$$
"""


def upgrade() -> None:
    op.execute(FUNCTION)


def downgrade() -> None:
    pass
