"""The batch sizes of erasure, the result of a round, and the time that a sweep takes. Pure."""

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Final, Literal, NamedTuple
from uuid import UUID

ROWS_MAX: Final = 1_000
"""Rows that one transaction erases. It takes tens of milliseconds, during which a live event, a
reader or vacuum may have to wait."""

USERS_MAX: Final = 200
"""Tombstones in one transaction. Most have no content. A late event of one of these users waits for
the whole transaction."""

POSTS_MAX: Final = 200
"""Deleted posts in one transaction."""

ORPHAN_DAYS: Final = 7
"""How long the content of an orphan is hidden before it is erased. The source may have been the
wrong one, or restored from a backup. Within a week the mistake is noticed, and the user and their
content can be restored (see the runbook)."""

SLOW_SECONDS: Final = 5.0
"""About a hundred rounds. A sweep that takes longer is logged."""


OwnerKind = Literal["user_id", "post_id"]


class Owner(NamedTuple):
    """The owner of content to erase: a deleted user or a deleted post."""

    kind: OwnerKind
    id: UUID


@dataclass(slots=True)
class Swept:
    """The result of one round.

    ``profiles``, ``posts`` and ``comments`` count erased rows. ``emptied`` posts lost title and
    body; their rows go after the last of their comments. ``settled`` posts keep an empty row until
    their author is deleted. Owners in ``left`` still have content.
    """

    profiles: int = 0
    posts: int = 0
    comments: int = 0
    emptied: int = 0
    settled: int = 0
    done: list[Owner] = field(default_factory=list)
    left: list[Owner] = field(default_factory=list)

    def note(self, kind: OwnerKind, looked_at: Collection[UUID], done: Collection[UUID]) -> None:
        """Record which of the owners ``looked_at`` are ``done``; the others have content left."""
        for one in looked_at:
            (self.done if one in done else self.left).append(Owner(kind, one))

    @property
    def rows(self) -> int:
        """Return how many rows of content were erased or written."""
        return self.profiles + self.posts + self.comments + self.emptied + self.settled

    @property
    def room(self) -> int:
        """Return how many more rows this round may write."""
        return ROWS_MAX - self.rows

    @property
    def made_progress(self) -> bool:
        """Tell whether another round may find more to erase right now."""
        return bool(self.rows or self.done)


class Unfinished:
    """The owners whose content takes more than one round, and since when."""

    def __init__(self) -> None:
        self._since: dict[Owner, float] = {}

    def note(self, swept: Swept, now: float) -> dict[Owner, float]:
        """Return the owners whose slow sweep ended with this round, and how many seconds it took.

        Parameters:
            swept: the result of the round.
            now: seconds of a monotonic clock. Only rounds of this process count, although another
                consumer may have begun or finished the sweep.
        """
        took = {owner: now - self._since[owner] for owner in swept.done if owner in self._since}
        self._since = {owner: self._since.get(owner, now) for owner in swept.left}
        return {owner: seconds for owner, seconds in took.items() if seconds >= SLOW_SECONDS}
