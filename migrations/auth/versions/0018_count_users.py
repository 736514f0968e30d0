"""Count the users that were there before the maintained digests.

Writers go on meanwhile: it takes no lock that they need, and counts nothing twice.
"""

from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None

CORRECTION = """
    INSERT INTO digest_changes (bucket, users, tombstones, state1, state2, state3, state4,
    versions1, versions2, versions3, versions4) SELECT bucket, users, tombstones, ((state1 <<
    32) >> 32)::integer, ((state2 << 32) >> 32)::integer, ((state3 << 32) >> 32)::integer,
    ((state4 << 32) >> 32)::integer, ((versions1 << 32) >> 32)::integer, ((versions2 << 32) >>
    32)::integer, ((versions3 << 32) >> 32)::integer, ((versions4 << 32) >> 32)::integer FROM (
    SELECT bucket, coalesce(computed.users, 0) - coalesce(kept.users, 0) AS users,
    coalesce(computed.tombstones, 0) - coalesce(kept.tombstones, 0) AS tombstones,
    coalesce(computed.state1, 0) - coalesce(kept.state1, 0) AS state1, coalesce(computed.state2,
    0) - coalesce(kept.state2, 0) AS state2, coalesce(computed.state3, 0) -
    coalesce(kept.state3, 0) AS state3, coalesce(computed.state4, 0) - coalesce(kept.state4, 0)
    AS state4, coalesce(computed.versions1, 0) - coalesce(kept.versions1, 0) AS versions1,
    coalesce(computed.versions2, 0) - coalesce(kept.versions2, 0) AS versions2,
    coalesce(computed.versions3, 0) - coalesce(kept.versions3, 0) AS versions3,
    coalesce(computed.versions4, 0) - coalesce(kept.versions4, 0) AS versions4 FROM (SELECT
    bucket AS bucket, count(*) FILTER (WHERE is_living) AS users, count(*) FILTER (WHERE NOT
    is_living) AS tombstones, sum(((get_byte(state, 0) << 24) | (get_byte(state, 1) << 16) |
    (get_byte(state, 2) << 8) | get_byte(state, 3))) AS state1, sum(((get_byte(state, 4) << 24)
    | (get_byte(state, 5) << 16) | (get_byte(state, 6) << 8) | get_byte(state, 7))) AS state2,
    sum(((get_byte(state, 8) << 24) | (get_byte(state, 9) << 16) | (get_byte(state, 10) << 8) |
    get_byte(state, 11))) AS state3, sum(((get_byte(state, 12) << 24) | (get_byte(state, 13) <<
    16) | (get_byte(state, 14) << 8) | get_byte(state, 15))) AS state4, sum(((get_byte(versions,
    0) << 24) | (get_byte(versions, 1) << 16) | (get_byte(versions, 2) << 8) |
    get_byte(versions, 3))) AS versions1, sum(((get_byte(versions, 4) << 24) |
    (get_byte(versions, 5) << 16) | (get_byte(versions, 6) << 8) | get_byte(versions, 7))) AS
    versions2, sum(((get_byte(versions, 8) << 24) | (get_byte(versions, 9) << 16) |
    (get_byte(versions, 10) << 8) | get_byte(versions, 11))) AS versions3,
    sum(((get_byte(versions, 12) << 24) | (get_byte(versions, 13) << 16) | (get_byte(versions,
    14) << 8) | get_byte(versions, 15))) AS versions4 FROM (( SELECT
    (((get_byte(uuid_send(users.id), 14) & 15) << 8) | get_byte(uuid_send(users.id), 15)) AS
    bucket, users.deleted_at IS NULL AS is_living, 0 AS sign, sha256(coalesce(CASE WHEN
    users.deleted_at IS NULL THEN 'U'::bytea || uuid_send(users.id) || int8send(users.version)
    || int4send(length(users.email)) || convert_to(users.email, 'UTF8') ||
    boolsend(users.email_verified) || CASE cardinality(users.roles) WHEN 0 THEN int4send(0) WHEN
    1 THEN int4send(1) || int4send(length(users.roles[1])) || convert_to(users.roles[1], 'UTF8')
    ELSE digest_roles(users.roles) END || int4send(length(users.status)) ||
    convert_to(users.status, 'UTF8') || coalesce(boolsend(true) ||
    timestamptz_send(users.tokens_valid_after), boolsend(false)) ||
    timestamptz_send(users.created_at) || timestamptz_send(users.updated_at) ELSE 'T'::bytea ||
    uuid_send(users.id) || int8send(users.version) || timestamptz_send(users.deleted_at) END,
    'X'::bytea || uuid_send(users.id))) AS state, sha256(CASE WHEN users.deleted_at IS NULL THEN
    'L'::bytea ELSE 'D'::bytea END || uuid_send(users.id) || int8send(users.version)) AS
    versions FROM users AS users OFFSET NULL )) AS digested GROUP BY bucket) AS computed FULL
    JOIN ( SELECT bucket, coalesce(folded.users, 0) + coalesce(changes.users, 0) AS users,
    coalesce(folded.tombstones, 0) + coalesce(changes.tombstones, 0) AS tombstones,
    coalesce(folded.state1, 0) + coalesce(changes.state1, 0) AS state1, coalesce(folded.state2,
    0) + coalesce(changes.state2, 0) AS state2, coalesce(folded.state3, 0) +
    coalesce(changes.state3, 0) AS state3, coalesce(folded.state4, 0) + coalesce(changes.state4,
    0) AS state4, coalesce(folded.versions1, 0) + coalesce(changes.versions1, 0) AS versions1,
    coalesce(folded.versions2, 0) + coalesce(changes.versions2, 0) AS versions2,
    coalesce(folded.versions3, 0) + coalesce(changes.versions3, 0) AS versions3,
    coalesce(folded.versions4, 0) + coalesce(changes.versions4, 0) AS versions4 FROM digests AS
    folded FULL JOIN ( SELECT bucket, sum(users) AS users, sum(tombstones) AS tombstones,
    sum(state1) AS state1, sum(state2) AS state2, sum(state3) AS state3, sum(state4) AS state4,
    sum(versions1) AS versions1, sum(versions2) AS versions2, sum(versions3) AS versions3,
    sum(versions4) AS versions4 FROM digest_changes GROUP BY bucket ) AS changes USING (bucket)
    ) AS kept USING (bucket) ) AS sums WHERE users <> 0 OR tombstones <> 0 OR (state1 &
    4294967295) <> 0 OR (state2 & 4294967295) <> 0 OR (state3 & 4294967295) <> 0 OR (state4 &
    4294967295) <> 0 OR (versions1 & 4294967295) <> 0 OR (versions2 & 4294967295) <> 0 OR
    (versions3 & 4294967295) <> 0 OR (versions4 & 4294967295) <> 0 RETURNING bucket
"""


def upgrade() -> None:
    op.execute("SET LOCAL statement_timeout = 0")  # some 5 s per million users
    op.execute(CORRECTION)


def downgrade() -> None:
    op.execute("DELETE FROM digest_changes")
    op.execute("DELETE FROM digests")
