"""Comparing the replica with its source: digests, buckets, runs, and gaps between heartbeats."""

import sqlalchemy as sa
from alembic import op

from migrations.concurrently import create_index_concurrently

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

BUCKET = "((get_byte(uuid_send(id), 14) & 15) << 8) | get_byte(uuid_send(id), 15)"


def upgrade() -> None:
    create_index_concurrently("users_bucket_idx", "users", [sa.text(f"({BUCKET})")])
    op.execute(
        """
        CREATE FUNCTION digest_roles(roles text[]) RETURNS bytea
        LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
            SELECT int4send(count(*)::int)
                || coalesce(
                    string_agg(
                        int4send(length(role)) || convert_to(role, 'UTF8'),
                        '' ORDER BY role COLLATE "C"
                    ),
                    ''
                )
            FROM (SELECT DISTINCT unnest(roles) AS role) AS distinct_roles
        $$
        """
    )
    op.create_table(
        "reconcile_runs",
        sa.Column("id", sa.Uuid, server_default=sa.func.gen_random_uuid()),
        sa.Column("reason", sa.Text, nullable=False, comment="why it runs"),
        sa.Column("requested_by", sa.Text, comment="NULL when it runs by itself"),
        sa.Column("repairs", sa.ARRAY(sa.Text), nullable=False, comment="kinds that it may repair"),
        sa.Column("deletions_max", sa.Integer, nullable=False),
        sa.Column(
            "requested_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()
        ),
        sa.Column("started_at", sa.DateTime(timezone=True), comment="NULL while it is waited for"),
        sa.Column("finished_at", sa.DateTime(timezone=True)),
        sa.Column("verdict", sa.Text, comment="NULL until it has finished"),
        sa.Column("explanation", sa.Text, comment="why there is no verdict, or no repair"),
        sa.Column("source", sa.Uuid, comment="who was compared with"),
        sa.Column("source_at", sa.DateTime(timezone=True), comment="as of when, its clock"),
        sa.Column("compared", sa.BigInteger, comment="users at the source, tombstones too"),
        sa.Column("in_flight", sa.BigInteger),
        sa.Column("differing", sa.JSON, comment="users by kind"),
        sa.Column("repaired", sa.JSON, comment="users by kind"),
        sa.Column("findings", sa.JSON, comment="the first of the users that differed, ids only"),
        sa.PrimaryKeyConstraint("id", name="reconcile_runs_pkey"),
        sa.CheckConstraint(
            "verdict IN ('in_step', 'drift', 'could_not_compare')",
            name=op.f("reconcile_runs_verdict_check"),
        ),
        comment="Every comparison with the source, and what came of it",
    )
    op.create_index("reconcile_runs_started_at_idx", "reconcile_runs", ["started_at"])
    op.add_column(
        "heartbeats",
        sa.Column("suspicion", sa.Text, comment="gap, backwards or queue_lost; NULL once compared"),
    )
    op.add_column("heartbeats", sa.Column("suspected_at", sa.DateTime(timezone=True)))


def downgrade() -> None:
    op.drop_column("heartbeats", "suspected_at")
    op.drop_column("heartbeats", "suspicion")
    op.drop_table("reconcile_runs")
    op.drop_index("users_bucket_idx", "users")
    op.execute("DROP FUNCTION digest_roles(text[])")
