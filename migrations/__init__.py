"""The schemas of both databases, as Alembic revisions.

``environment`` runs them; each database has its own history below ``auth`` and ``blog``.
"""
