"""What comparing with replicas needs: digests, and users by bucket."""

import sqlalchemy as sa
from alembic import op

from migrations.concurrently import create_index_concurrently

revision = "0009"
down_revision = "0008"
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


def downgrade() -> None:
    op.drop_index("users_bucket_idx", "users")
    op.execute("DROP FUNCTION digest_roles(text[])")
