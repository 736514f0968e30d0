"""How much is erased at once, what a round has erased, and whose sweep takes long. Pure."""

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Final, Literal, NamedTuple
from uuid import UUID

ROWS_MAX: Final = 1_000
"""Rows that one transaction erases: some hundredths of a second, for which a live event, a reader
or vacuum may have to wait."""

USERS_MAX: Final = 200
"""Tombstones in one transaction. Most have nothing to erase, and a late event of one of them waits
until all are done."""

POSTS_MAX: Final = 200
"""Deleted posts in one transaction."""

ORPHAN_DAYS: Final = 7
"""How long the content of a user whom the source did not know is hidden before it is erased. The
source may have been the wrong one, or set back; within a week somebody misses him, and his row can
be fetched again with all that he wrote (see the runbook)."""

TOOK_LONG_SECONDS: Final = 5.0
"""Some hundred rounds: long enough to be worth a line in the log."""


OwnerKind = Literal["user_id", "post_id"]


class Owner(NamedTuple):
    """Whose content it is: a deleted user's, or what hangs on a deleted post."""

    kind: OwnerKind
    id: UUID


@dataclass(slots=True)
class Swept:
    """What one round has done. The first three are rows that are gone.

    ``emptied`` posts are deleted, and their rows go with the last of their comments; ``settled``
    ones leave an empty row until their author is deleted. Of those ``left``, content is yet to be
    erased.
    """

    profiles: int = 0
    posts: int = 0
    comments: int = 0
    emptied: int = 0
    settled: int = 0
    done: list[Owner] = field(default_factory=list)
    left: list[Owner] = field(default_factory=list)

    def note(self, kind: OwnerKind, looked_at: Collection[UUID], done: Collection[UUID]) -> None:
        """Note for whom all is ``done``, of those who were ``looked_at``."""
        for one in looked_at:
            (self.done if one in done else self.left).append(Owner(kind, one))

    @property
    def rows(self) -> int:
        """How many rows of content were erased or written."""
        return self.profiles + self.posts + self.comments + self.emptied + self.settled

    @property
    def room(self) -> int:
        """How many more may be in this round."""
        return ROWS_MAX - self.rows

    @property
    def has_come_further(self) -> bool:
        """Whether another round at once may find more to do."""
        return bool(self.rows or self.done)


class Unfinished:
    """Since when there are some whose content took more than one round so far."""

    def __init__(self) -> None:
        self._since: dict[Owner, float] = {}

    def note(self, swept: Swept, now: float) -> dict[Owner, float]:
        """Whose sweep has ended with this round after it took long, and the seconds.

        Parameters:
            swept: what the round has done.
            now: a clock's seconds. Another consumer may have begun, or may end it: then the time
                is that of what was seen here.
        """
        took = {owner: now - self._since[owner] for owner in swept.done if owner in self._since}
        self._since = {owner: self._since.get(owner, now) for owner in swept.left}
        return {owner: seconds for owner, seconds in took.items() if seconds >= TOOK_LONG_SECONDS}
