"""Characters that cannot be seen, though their category does not say so. Pure data."""

from typing import Final

FILLERS: Final = (
    "\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0000-\U000e0fff"
)
"""Fillers and variation selectors: the inside of a class of characters in a pattern."""
