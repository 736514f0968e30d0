"""Find users by the beginning of their id, as logs, tables and people quote it. Pure."""

import re
from typing import Final
from uuid import UUID

PREFIX_LENGTH_MIN: Final = 3
"""Fewer digits say nothing: of ten million users, three already leave 2,441."""

ID_LENGTH_MAX: Final = 36
"""Of a whole id with its dashes."""

FOUND_MAX: Final = 20
"""Users that one search shows: more than anyone compares. A longer prefix leaves fewer."""

_PREFIX: Final = re.compile(r"[0-9a-f]{3,32}")


def ids_between(prefix: str) -> tuple[UUID, UUID] | None:
    """The lowest and the highest id that begins with ``prefix``; None if no id does.

    Parameters:
        prefix: of an id in its usual form; case and dashes do not count.
    """
    digits = prefix.replace("-", "").lower()
    if not _PREFIX.fullmatch(digits):
        return None
    return UUID(digits.ljust(32, "0")), UUID(digits.ljust(32, "f"))
