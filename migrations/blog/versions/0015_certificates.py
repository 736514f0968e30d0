"""Certificates: signed statements of the source that the replica equals it."""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "proofs",
        sa.Column("id", sa.BigInteger, sa.Identity(always=True)),
        sa.Column("number", sa.BigInteger, nullable=False, comment="its place in the chain"),
        sa.Column("time", sa.DateTime(timezone=True), nullable=False, comment="the source's clock"),
        sa.Column(
            "proved_microseconds", sa.BigInteger, nullable=False, comment="the sum up to its time"
        ),
        sa.Column("key_id", sa.Text, nullable=False, comment="the source's key that signed it"),
        sa.Column("hash", sa.Text, nullable=False, comment="what later ones name it by"),
        sa.Column(
            "certificate", sa.Text, nullable=False, comment="the JWS, which says all of this"
        ),
        sa.Column(
            "stored_at",
            sa.DateTime(timezone=True),
            nullable=False,
            server_default=sa.func.clock_timestamp(),
        ),
        sa.PrimaryKeyConstraint("id", name="proofs_pkey"),
        sa.UniqueConstraint("hash", name="proofs_hash_key"),
        comment="Signed statements of the source that the replica equals it, thinned with age",
    )


def downgrade() -> None:
    op.drop_table("proofs")
