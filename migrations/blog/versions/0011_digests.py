"""Maintained digests: tables that have the digests of all buckets, kept by triggers on users.

The next migration counts the users that are there; this one only takes a lock for a moment.
"""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

LANES = [f"{kind}{number}" for kind in ("state", "versions") for number in (1, 2, 3, 4)]
NAMES = ("users", "tombstones", *LANES)

FUNCTION = """
CREATE FUNCTION count_in_digests() RETURNS trigger
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
    BEGIN CASE TG_OP WHEN 'INSERT' THEN INSERT INTO digest_changes (bucket, users, tombstones,
    state1, state2, state3, state4, versions1, versions2, versions3, versions4) SELECT bucket,
    users, tombstones, ((state1 << 32) >> 32)::integer, ((state2 << 32) >> 32)::integer,
    ((state3 << 32) >> 32)::integer, ((state4 << 32) >> 32)::integer, ((versions1 << 32) >>
    32)::integer, ((versions2 << 32) >> 32)::integer, ((versions3 << 32) >> 32)::integer,
    ((versions4 << 32) >> 32)::integer FROM (SELECT bucket AS bucket, count(*) FILTER (WHERE
    is_living) AS users, count(*) FILTER (WHERE NOT is_living) AS tombstones,
    sum(((get_byte(state, 0) << 24) | (get_byte(state, 1) << 16) | (get_byte(state, 2) << 8) |
    get_byte(state, 3))) AS state1, sum(((get_byte(state, 4) << 24) | (get_byte(state, 5) << 16)
    | (get_byte(state, 6) << 8) | get_byte(state, 7))) AS state2, sum(((get_byte(state, 8) <<
    24) | (get_byte(state, 9) << 16) | (get_byte(state, 10) << 8) | get_byte(state, 11))) AS
    state3, sum(((get_byte(state, 12) << 24) | (get_byte(state, 13) << 16) | (get_byte(state,
    14) << 8) | get_byte(state, 15))) AS state4, sum(((get_byte(versions, 0) << 24) |
    (get_byte(versions, 1) << 16) | (get_byte(versions, 2) << 8) | get_byte(versions, 3))) AS
    versions1, sum(((get_byte(versions, 4) << 24) | (get_byte(versions, 5) << 16) |
    (get_byte(versions, 6) << 8) | get_byte(versions, 7))) AS versions2,
    sum(((get_byte(versions, 8) << 24) | (get_byte(versions, 9) << 16) | (get_byte(versions, 10)
    << 8) | get_byte(versions, 11))) AS versions3, sum(((get_byte(versions, 12) << 24) |
    (get_byte(versions, 13) << 16) | (get_byte(versions, 14) << 8) | get_byte(versions, 15))) AS
    versions4 FROM (( SELECT (((get_byte(uuid_send(users.id), 14) & 15) << 8) |
    get_byte(uuid_send(users.id), 15)) AS bucket, users.deleted_at IS NULL AS is_living, 0 AS
    sign, sha256(coalesce(CASE WHEN users.deleted_at IS NULL THEN 'U'::bytea ||
    uuid_send(users.id) || int8send(users.version) || int4send(length(users.email)) ||
    convert_to(users.email, 'UTF8') || boolsend(users.email_verified) || CASE
    cardinality(users.roles) WHEN 0 THEN int4send(0) WHEN 1 THEN int4send(1) ||
    int4send(length(users.roles[1])) || convert_to(users.roles[1], 'UTF8') ELSE
    digest_roles(users.roles) END || int4send(length(users.status)) || convert_to(users.status,
    'UTF8') || coalesce(boolsend(true) || timestamptz_send(users.tokens_valid_after),
    boolsend(false)) || timestamptz_send(users.created_at) || timestamptz_send(users.updated_at)
    ELSE 'T'::bytea || uuid_send(users.id) || int8send(users.version) ||
    timestamptz_send(users.deleted_at) END, 'X'::bytea || uuid_send(users.id))) AS state,
    sha256(CASE WHEN users.deleted_at IS NULL THEN 'L'::bytea ELSE 'D'::bytea END ||
    uuid_send(users.id) || int8send(users.version)) AS versions FROM after AS users WHERE CASE
    WHEN users.deleted_at IS NULL THEN true ELSE NOT EXISTS ( SELECT FROM orphan_tombstones AS
    orphan WHERE orphan.id = users.id AND orphan.version = users.version ) END OFFSET NULL )) AS
    digested GROUP BY bucket) AS sums WHERE users <> 0 OR tombstones <> 0 OR (state1 &
    4294967295) <> 0 OR (state2 & 4294967295) <> 0 OR (state3 & 4294967295) <> 0 OR (state4 &
    4294967295) <> 0 OR (versions1 & 4294967295) <> 0 OR (versions2 & 4294967295) <> 0 OR
    (versions3 & 4294967295) <> 0 OR (versions4 & 4294967295) <> 0 ; WHEN 'UPDATE' THEN INSERT
    INTO digest_changes (bucket, users, tombstones, state1, state2, state3, state4, versions1,
    versions2, versions3, versions4) SELECT bucket, users, tombstones, ((state1 << 32) >>
    32)::integer, ((state2 << 32) >> 32)::integer, ((state3 << 32) >> 32)::integer, ((state4 <<
    32) >> 32)::integer, ((versions1 << 32) >> 32)::integer, ((versions2 << 32) >> 32)::integer,
    ((versions3 << 32) >> 32)::integer, ((versions4 << 32) >> 32)::integer FROM (SELECT bucket
    AS bucket, coalesce(sum(2 * sign + 1) FILTER (WHERE is_living), 0) AS users, coalesce(sum(2
    * sign + 1) FILTER (WHERE NOT is_living), 0) AS tombstones, sum(((get_byte(state, 0) << 24)
    | (get_byte(state, 1) << 16) | (get_byte(state, 2) << 8) | get_byte(state, 3)) # sign) -
    sum(sign) AS state1, sum(((get_byte(state, 4) << 24) | (get_byte(state, 5) << 16) |
    (get_byte(state, 6) << 8) | get_byte(state, 7)) # sign) - sum(sign) AS state2,
    sum(((get_byte(state, 8) << 24) | (get_byte(state, 9) << 16) | (get_byte(state, 10) << 8) |
    get_byte(state, 11)) # sign) - sum(sign) AS state3, sum(((get_byte(state, 12) << 24) |
    (get_byte(state, 13) << 16) | (get_byte(state, 14) << 8) | get_byte(state, 15)) # sign) -
    sum(sign) AS state4, sum(((get_byte(versions, 0) << 24) | (get_byte(versions, 1) << 16) |
    (get_byte(versions, 2) << 8) | get_byte(versions, 3)) # sign) - sum(sign) AS versions1,
    sum(((get_byte(versions, 4) << 24) | (get_byte(versions, 5) << 16) | (get_byte(versions, 6)
    << 8) | get_byte(versions, 7)) # sign) - sum(sign) AS versions2, sum(((get_byte(versions, 8)
    << 24) | (get_byte(versions, 9) << 16) | (get_byte(versions, 10) << 8) | get_byte(versions,
    11)) # sign) - sum(sign) AS versions3, sum(((get_byte(versions, 12) << 24) |
    (get_byte(versions, 13) << 16) | (get_byte(versions, 14) << 8) | get_byte(versions, 15)) #
    sign) - sum(sign) AS versions4 FROM (( SELECT (((get_byte(uuid_send(users.id), 14) & 15) <<
    8) | get_byte(uuid_send(users.id), 15)) AS bucket, users.deleted_at IS NULL AS is_living, 0
    AS sign, sha256(coalesce(CASE WHEN users.deleted_at IS NULL THEN 'U'::bytea ||
    uuid_send(users.id) || int8send(users.version) || int4send(length(users.email)) ||
    convert_to(users.email, 'UTF8') || boolsend(users.email_verified) || CASE
    cardinality(users.roles) WHEN 0 THEN int4send(0) WHEN 1 THEN int4send(1) ||
    int4send(length(users.roles[1])) || convert_to(users.roles[1], 'UTF8') ELSE
    digest_roles(users.roles) END || int4send(length(users.status)) || convert_to(users.status,
    'UTF8') || coalesce(boolsend(true) || timestamptz_send(users.tokens_valid_after),
    boolsend(false)) || timestamptz_send(users.created_at) || timestamptz_send(users.updated_at)
    ELSE 'T'::bytea || uuid_send(users.id) || int8send(users.version) ||
    timestamptz_send(users.deleted_at) END, 'X'::bytea || uuid_send(users.id))) AS state,
    sha256(CASE WHEN users.deleted_at IS NULL THEN 'L'::bytea ELSE 'D'::bytea END ||
    uuid_send(users.id) || int8send(users.version)) AS versions FROM after AS users WHERE CASE
    WHEN users.deleted_at IS NULL THEN true ELSE NOT EXISTS ( SELECT FROM orphan_tombstones AS
    orphan WHERE orphan.id = users.id AND orphan.version = users.version ) END OFFSET NULL )
    UNION ALL ( SELECT (((get_byte(uuid_send(users.id), 14) & 15) << 8) |
    get_byte(uuid_send(users.id), 15)) AS bucket, users.deleted_at IS NULL AS is_living, -1 AS
    sign, sha256(coalesce(CASE WHEN users.deleted_at IS NULL THEN 'U'::bytea ||
    uuid_send(users.id) || int8send(users.version) || int4send(length(users.email)) ||
    convert_to(users.email, 'UTF8') || boolsend(users.email_verified) || CASE
    cardinality(users.roles) WHEN 0 THEN int4send(0) WHEN 1 THEN int4send(1) ||
    int4send(length(users.roles[1])) || convert_to(users.roles[1], 'UTF8') ELSE
    digest_roles(users.roles) END || int4send(length(users.status)) || convert_to(users.status,
    'UTF8') || coalesce(boolsend(true) || timestamptz_send(users.tokens_valid_after),
    boolsend(false)) || timestamptz_send(users.created_at) || timestamptz_send(users.updated_at)
    ELSE 'T'::bytea || uuid_send(users.id) || int8send(users.version) ||
    timestamptz_send(users.deleted_at) END, 'X'::bytea || uuid_send(users.id))) AS state,
    sha256(CASE WHEN users.deleted_at IS NULL THEN 'L'::bytea ELSE 'D'::bytea END ||
    uuid_send(users.id) || int8send(users.version)) AS versions FROM before AS users WHERE CASE
    WHEN users.deleted_at IS NULL THEN true ELSE NOT EXISTS ( SELECT FROM orphan_tombstones AS
    orphan WHERE orphan.id = users.id AND orphan.version = users.version ) END OFFSET NULL )) AS
    digested GROUP BY bucket) AS sums WHERE users <> 0 OR tombstones <> 0 OR (state1 &
    4294967295) <> 0 OR (state2 & 4294967295) <> 0 OR (state3 & 4294967295) <> 0 OR (state4 &
    4294967295) <> 0 OR (versions1 & 4294967295) <> 0 OR (versions2 & 4294967295) <> 0 OR
    (versions3 & 4294967295) <> 0 OR (versions4 & 4294967295) <> 0 ; WHEN 'DELETE' THEN INSERT
    INTO digest_changes (bucket, users, tombstones, state1, state2, state3, state4, versions1,
    versions2, versions3, versions4) SELECT bucket, users, tombstones, ((state1 << 32) >>
    32)::integer, ((state2 << 32) >> 32)::integer, ((state3 << 32) >> 32)::integer, ((state4 <<
    32) >> 32)::integer, ((versions1 << 32) >> 32)::integer, ((versions2 << 32) >> 32)::integer,
    ((versions3 << 32) >> 32)::integer, ((versions4 << 32) >> 32)::integer FROM (SELECT bucket
    AS bucket, coalesce(sum(2 * sign + 1) FILTER (WHERE is_living), 0) AS users, coalesce(sum(2
    * sign + 1) FILTER (WHERE NOT is_living), 0) AS tombstones, sum(((get_byte(state, 0) << 24)
    | (get_byte(state, 1) << 16) | (get_byte(state, 2) << 8) | get_byte(state, 3)) # sign) -
    sum(sign) AS state1, sum(((get_byte(state, 4) << 24) | (get_byte(state, 5) << 16) |
    (get_byte(state, 6) << 8) | get_byte(state, 7)) # sign) - sum(sign) AS state2,
    sum(((get_byte(state, 8) << 24) | (get_byte(state, 9) << 16) | (get_byte(state, 10) << 8) |
    get_byte(state, 11)) # sign) - sum(sign) AS state3, sum(((get_byte(state, 12) << 24) |
    (get_byte(state, 13) << 16) | (get_byte(state, 14) << 8) | get_byte(state, 15)) # sign) -
    sum(sign) AS state4, sum(((get_byte(versions, 0) << 24) | (get_byte(versions, 1) << 16) |
    (get_byte(versions, 2) << 8) | get_byte(versions, 3)) # sign) - sum(sign) AS versions1,
    sum(((get_byte(versions, 4) << 24) | (get_byte(versions, 5) << 16) | (get_byte(versions, 6)
    << 8) | get_byte(versions, 7)) # sign) - sum(sign) AS versions2, sum(((get_byte(versions, 8)
    << 24) | (get_byte(versions, 9) << 16) | (get_byte(versions, 10) << 8) | get_byte(versions,
    11)) # sign) - sum(sign) AS versions3, sum(((get_byte(versions, 12) << 24) |
    (get_byte(versions, 13) << 16) | (get_byte(versions, 14) << 8) | get_byte(versions, 15)) #
    sign) - sum(sign) AS versions4 FROM (( SELECT (((get_byte(uuid_send(users.id), 14) & 15) <<
    8) | get_byte(uuid_send(users.id), 15)) AS bucket, users.deleted_at IS NULL AS is_living, -1
    AS sign, sha256(coalesce(CASE WHEN users.deleted_at IS NULL THEN 'U'::bytea ||
    uuid_send(users.id) || int8send(users.version) || int4send(length(users.email)) ||
    convert_to(users.email, 'UTF8') || boolsend(users.email_verified) || CASE
    cardinality(users.roles) WHEN 0 THEN int4send(0) WHEN 1 THEN int4send(1) ||
    int4send(length(users.roles[1])) || convert_to(users.roles[1], 'UTF8') ELSE
    digest_roles(users.roles) END || int4send(length(users.status)) || convert_to(users.status,
    'UTF8') || coalesce(boolsend(true) || timestamptz_send(users.tokens_valid_after),
    boolsend(false)) || timestamptz_send(users.created_at) || timestamptz_send(users.updated_at)
    ELSE 'T'::bytea || uuid_send(users.id) || int8send(users.version) ||
    timestamptz_send(users.deleted_at) END, 'X'::bytea || uuid_send(users.id))) AS state,
    sha256(CASE WHEN users.deleted_at IS NULL THEN 'L'::bytea ELSE 'D'::bytea END ||
    uuid_send(users.id) || int8send(users.version)) AS versions FROM before AS users WHERE CASE
    WHEN users.deleted_at IS NULL THEN true ELSE NOT EXISTS ( SELECT FROM orphan_tombstones AS
    orphan WHERE orphan.id = users.id AND orphan.version = users.version ) END OFFSET NULL )) AS
    digested GROUP BY bucket) AS sums WHERE users <> 0 OR tombstones <> 0 OR (state1 &
    4294967295) <> 0 OR (state2 & 4294967295) <> 0 OR (state3 & 4294967295) <> 0 OR (state4 &
    4294967295) <> 0 OR (versions1 & 4294967295) <> 0 OR (versions2 & 4294967295) <> 0 OR
    (versions3 & 4294967295) <> 0 OR (versions4 & 4294967295) <> 0 ; ELSE TRUNCATE digests,
    digest_changes; END CASE; RETURN NULL; END
$$
"""

TRIGGERS = {
    "digests_insert": "AFTER INSERT ON users REFERENCING NEW TABLE AS after",
    "digests_update": "AFTER UPDATE ON users REFERENCING OLD TABLE AS before NEW TABLE AS after",
    "digests_delete": "AFTER DELETE ON users REFERENCING OLD TABLE AS before",
    "digests_truncate": "AFTER TRUNCATE ON users",
}


def upgrade() -> None:
    op.create_table(
        "digests",
        sa.Column("bucket", sa.Integer, autoincrement=False),
        *(sa.Column(name, sa.BigInteger, nullable=False) for name in NAMES),
        sa.PrimaryKeyConstraint("bucket", name="digests_pkey"),
        sa.CheckConstraint("bucket BETWEEN 0 AND 4095", name=op.f("digests_bucket_check")),
        sa.CheckConstraint(
            "users BETWEEN -1000000000 AND 1000000000"
            " AND tombstones BETWEEN -1000000000 AND 1000000000",
            name=op.f("digests_counts_check"),
        ),
        sa.CheckConstraint(
            " AND ".join(f"{name} BETWEEN 0 AND 4294967295" for name in LANES),
            name=op.f("digests_lanes_check"),
        ),
        comment="Digests of the users of each bucket; empty buckets may have no row",
    )
    op.create_table(
        "digest_changes",
        sa.Column("bucket", sa.Integer, nullable=False),
        *(sa.Column(name, sa.Integer, nullable=False) for name in NAMES),
        sa.CheckConstraint("bucket BETWEEN 0 AND 4095", name=op.f("digest_changes_bucket_check")),
        comment="What statements changed since; appended by triggers, moved to digests by a fold",
    )
    op.create_table(
        "orphan_tombstones",
        sa.Column("id", sa.Uuid),
        sa.Column(
            "version",
            sa.BigInteger,
            nullable=False,
            comment="another one is the source's tombstone",
        ),
        sa.PrimaryKeyConstraint("id", name="orphan_tombstones_pkey"),
        comment="Tombstones that the source never had; they count in no digest",
    )
    op.execute(FUNCTION)
    for name, event in TRIGGERS.items():
        op.execute(
            f"CREATE TRIGGER {name} {event} FOR EACH STATEMENT EXECUTE FUNCTION count_in_digests()"
        )


def downgrade() -> None:
    for name in TRIGGERS:
        op.execute(f"DROP TRIGGER {name} ON users")
    op.execute("DROP FUNCTION count_in_digests()")
    op.drop_table("orphan_tombstones")
    op.drop_table("digest_changes")
    op.drop_table("digests")
