"""The profiles' table. Written by ``profiles``; ``erasure`` erases."""

from sqlalchemy import Column, DateTime, Table, Text, Uuid, func

from blog_service.db import metadata

profiles = Table(
    "profiles",
    metadata,
    # No foreign key: a replica's row that was lost comes back, and finds its profile again.
    Column("user_id", Uuid, primary_key=True),
    Column("display_name", Text),
    Column("bio", Text),
    Column("avatar_url", Text),
    Column("updated_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    comment="What users tell of themselves",
)
