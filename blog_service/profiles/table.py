"""The table ``profiles``. Written by ``profiles``; erased by ``erasure``."""

from sqlalchemy import Column, DateTime, Table, Text, Uuid, func

from blog_service.db import metadata

profiles = Table(
    "profiles",
    metadata,
    # No foreign key: when a lost row of the replica is restored, its profile belongs to it again.
    Column("user_id", Uuid, primary_key=True),
    Column("display_name", Text),
    Column("bio", Text),
    Column("avatar_url", Text),
    Column("updated_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    comment="What users tell of themselves",
)
