"""Compare both user tables id by id and field by field, from outside both services.

For the demonstration and the tests, which may read both databases. Operators use
``blog-service reconcile``, which may not.
"""

from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from sqlalchemy import text

from local.outside import outside

FIELDS: Final = (
    "version",
    "status",
    "email",
    "email_verified",
    "roles",
    "tokens_valid_after",
    "created_at",
    "updated_at",
    "deleted_at",
)

TOMBSTONE_FIELDS: Final = ("version", "status", "deleted_at")
"""All fields that a replica has of a deleted user."""


@dataclass(frozen=True)
class Difference:
    """One field of a user that differs; None stands for a missing row."""

    id: UUID
    field: str
    source: Any
    replica: Any

    def __str__(self) -> str:
        return f"{self.id} {self.field}: {self.source} at the source, {self.replica} in the replica"


@dataclass(frozen=True)
class Comparison:
    """The number of users in either table, how many are deleted, and the differences.

    A tombstone that the replica alone has does not count: both sides lack the user.
    """

    users: int
    deleted: int
    differences: list[Difference]

    @property
    def differing(self) -> int:
        """The number of users that differ."""
        return len({difference.id for difference in self.differences})

    def __str__(self) -> str:
        living = self.users - self.deleted
        return (
            f"{self.users:,} users, {self.differing:,} differ"
            f" ({living:,} living, {self.deleted:,} deleted)"
        )


async def compare(auth_url: str, blog_url: str) -> Comparison:
    """Read both tables, the replica first: no state reaches it before the source has it."""
    replica = await _read(blog_url)
    source = await _read(auth_url)
    differences = []
    both = {
        user_id: row
        for user_id, row in (replica | source).items()
        if user_id in source or row["status"] != "deleted"
    }
    for user_id in sorted(both):
        differences += _differences(user_id, source.get(user_id), replica.get(user_id))
    deleted = sum(row["status"] == "deleted" for row in both.values())
    return Comparison(len(both), deleted, differences)


def _differences(
    user_id: UUID, source: dict[str, Any] | None, replica: dict[str, Any] | None
) -> list[Difference]:
    if source is None or replica is None:
        return [Difference(user_id, "row", source and "there", replica and "there")]
    fields = TOMBSTONE_FIELDS if source["status"] == "deleted" else FIELDS
    return [
        Difference(user_id, field, source[field], replica[field])
        for field in fields
        if source[field] != replica[field]
    ]


async def _read(url: str) -> dict[UUID, dict[str, Any]]:
    async with outside(url) as connection:
        rows = await connection.execute(text(f"SELECT id, {', '.join(FIELDS)} FROM users"))  # noqa: S608
        return {row["id"]: dict(row) for row in rows.mappings()}
