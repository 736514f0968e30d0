"""Who did what to whom; rows are added and never changed."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "audit_log",
        sa.Column("id", sa.BigInteger, sa.Identity(always=True)),
        sa.Column(
            "occurred_at",
            sa.DateTime(timezone=True),
            nullable=False,
            server_default=sa.func.clock_timestamp(),
        ),
        sa.Column("action", sa.Text, nullable=False),
        sa.Column("actor", sa.Text, nullable=False, comment="user:…, operator:… or anonymous"),
        sa.Column("subject", sa.Text, comment="id of the user, service, key or session"),
        sa.Column("request_id", sa.Text),
        sa.Column("details", sa.JSON, comment="nothing personal, nothing secret"),
        sa.PrimaryKeyConstraint("id", name="audit_log_pkey"),
        comment="Append-only; ids only, so that erasing a user leaves nothing to erase here",
    )
    op.create_index("audit_log_subject_idx", "audit_log", ["subject", "id"])
    op.create_index("audit_log_actor_idx", "audit_log", ["actor", "id"])
    op.execute(
        """
        CREATE FUNCTION refuse_change_of_audit_log() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            RAISE EXCEPTION 'the audit log is append-only';
        END $$
        """
    )
    op.execute(
        """
        CREATE TRIGGER audit_log_append_only
        BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_log
        FOR EACH STATEMENT EXECUTE FUNCTION refuse_change_of_audit_log()
        """
    )


def downgrade() -> None:
    op.drop_table("audit_log")
    op.execute("DROP FUNCTION refuse_change_of_audit_log")
