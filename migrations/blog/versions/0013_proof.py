"""The last proof that the replica equals its source."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "current_proof",
        sa.Column("singleton", sa.Boolean, server_default=sa.true(), comment="one row at most"),
        sa.Column(
            "on_since", sa.DateTime(timezone=True), comment="NULL while no consumer makes proofs"
        ),
        sa.Column("tried_at", sa.DateTime(timezone=True), comment="when the last attempt began"),
        sa.Column(
            "covered", sa.BigInteger, comment="the last heartbeat that needs no other attempt"
        ),
        sa.Column("trouble", sa.Text, comment="why attempts since the last verdict came to none"),
        sa.Column("proved_at", sa.DateTime(timezone=True), comment="NULL before the first verdict"),
        sa.Column("source", sa.Uuid, comment="who was compared with"),
        sa.Column("heartbeat", sa.BigInteger, comment="the last one that was applied before"),
        sa.Column("users", sa.BigInteger, comment="living users of the source"),
        sa.Column("tombstones", sa.BigInteger, comment="deleted users of the source"),
        sa.Column("in_flight", sa.BigInteger, comment="users whose events were on their way"),
        sa.Column("differing", sa.JSON, comment="users who differ and were not repaired, by kind"),
        sa.Column("findings", sa.JSON, comment="some of them: ids, kinds and versions"),
        sa.Column("run_id", sa.Uuid, comment="the run that names more of them"),
        sa.PrimaryKeyConstraint("singleton", name="current_proof_pkey"),
        sa.CheckConstraint("singleton", name=op.f("current_proof_singleton_check")),
        comment="The last proof that the replica equals its source",
    )


def downgrade() -> None:
    op.drop_table("current_proof")
