"""The latest time that the blog's database's clock has shown, as far as its tables tell."""

from typing import Final

from sqlalchemy import text

LATEST: Final = text(
    "SELECT greatest((SELECT max(taken_at) FROM samples),"
    " (SELECT max(applied_at) FROM heartbeats),"
    " (SELECT created_at FROM posts ORDER BY position DESC LIMIT 1))"
)
"""A consumer leaves a sample every few seconds, and samples are kept for a day."""
