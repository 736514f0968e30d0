"""What was tried how often."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "throttle_rates",
        sa.Column("key", sa.LargeBinary),
        sa.Column(
            "empty_at",
            sa.DateTime(timezone=True),
            nullable=False,
            comment="when all that was spent has come back (GCRA's theoretical arrival time)",
        ),
        sa.PrimaryKeyConstraint("key", name="throttle_rates_pkey"),
        comment="A rate's state for one key; worthless once empty_at has passed",
    )
    op.create_index("throttle_rates_empty_at_idx", "throttle_rates", ["empty_at"])
    op.create_table(
        "throttle_failures",
        sa.Column("key", sa.LargeBinary),
        sa.Column("count", sa.Integer, nullable=False),
        sa.Column("blocked_until", sa.DateTime(timezone=True)),
        sa.Column("forgotten_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("key", name="throttle_failures_pkey"),
        comment="Failures in a row of one account from one network",
    )
    op.create_index("throttle_failures_forgotten_at_idx", "throttle_failures", ["forgotten_at"])
    op.create_table(
        "throttle_known_networks",
        sa.Column("key", sa.LargeBinary),
        sa.Column("forgotten_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("key", name="throttle_known_networks_pkey"),
        comment="A network from which an account signed in; keys are those of throttle_failures",
    )
    op.create_index(
        "throttle_known_networks_forgotten_at_idx", "throttle_known_networks", ["forgotten_at"]
    )


def downgrade() -> None:
    op.drop_table("throttle_known_networks")
    op.drop_table("throttle_failures")
    op.drop_table("throttle_rates")
