"""Invisible characters whose Unicode category does not say so. Pure data."""

from typing import Final

FILLERS: Final = (
    "\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0000-\U000e0fff"
)
"""Fillers and variation selectors, to be put inside a pattern's character class."""
