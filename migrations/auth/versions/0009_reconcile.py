"""What comparing with replicas needs: digests, and users by bucket."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

BUCKET = "((get_byte(uuid_send(id), 14) & 15) << 8) | get_byte(uuid_send(id), 15)"


def upgrade() -> None:
    op.execute(
        """
        CREATE FUNCTION digest_roles(roles text[]) RETURNS text
        LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
            SELECT octet_length(listed) || ':' || listed
            FROM (
                SELECT coalesce(
                    string_agg(octet_length(role) || ':' || role, '' ORDER BY role COLLATE "C"), ''
                ) AS listed
                FROM (SELECT DISTINCT unnest(roles) AS role) AS distinct_roles
            ) AS field
        $$
        """
    )
    op.create_index("users_bucket_idx", "users", [sa.text(f"({BUCKET})")])


def downgrade() -> None:
    op.drop_index("users_bucket_idx", "users")
    op.execute("DROP FUNCTION digest_roles(text[])")
