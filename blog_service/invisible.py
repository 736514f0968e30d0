"""Remove invisible characters that no script needs from a text. Pure.

Invisible characters make two names look alike, hide words from readers, or carry a message that
only machines read (tag characters, sequences of variation selectors). Some are necessary in
context: joiners in Persian, Indic scripts and emoji, the selector after an emoji, the flags of
England, Scotland and Wales, word breaks in Khmer and Thai. These stay; all others are removed.

Guarantees: idempotent; the work depends on the length of the text alone.
"""

import re
import unicodedata
from typing import Final

_JOINED: Final = (
    "\u0600-\u0fff\u1000-\u109f\u1780-\u18af\u1b00-\u1cff\ua800-\uabff\ufb50-\ufdff\ufe70-\ufefc"
    "\U00010a00-\U00011fff\U0001e900-\U0001e95f"
)
"""Scripts whose letters join, stack or are written without spaces: from Arabic to Tibetan, Myanmar,
Khmer and Mongolian, with their extensions and the historic scripts of the same families."""

_JAMO: Final = "\u1100-\u115e\u1161-\u11ff\ua960-\ua97f\ud7b0-\ud7ff"

_TAGS: Final = "\U000e0000-\U000e007f"

_HIDDEN: Final = re.compile(
    "[\u00ad\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200d\u2060-\u2065\u206a-\u206f\u3164"
    f"\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\U0001bca0-\U0001bca3\U0001d173-\U0001d17a{_TAGS}"
    "\U000e0080-\U000e0fff]"
)
"""The characters that Unicode renders as nothing (Default_Ignorable_Code_Point), plus the
annotation characters; without directional marks and isolates, which ``texts`` checks."""

_FLAGS: Final = re.compile(
    "\U0001f3f4(?:"
    + "|".join(
        "".join(chr(0xE0000 + ord(c)) for c in region) for region in ("gbeng", "gbsct", "gbwls")
    )
    + ")\U000e007f"
)

_IS_JOINED: Final = re.compile(f"[{_JOINED}]")
_IS_JAMO: Final = re.compile(f"[{_JAMO}]")
_IS_MONGOLIAN: Final = re.compile("[\u1800-\u180a\u1810-\u18af]")
_IS_TONE: Final = re.compile("[\U0001f3fb-\U0001f3ff]")


def remove_invisible(text: str) -> str:
    """Return ``text`` without the invisible characters that their context does not need."""
    while _HIDDEN.search(text):
        flags = {at for found in _FLAGS.finditer(text) for at in range(*found.span())}
        cleaned = _HIDDEN.sub(
            lambda found, text=text, flags=flags: (  # type: ignore[misc]
                found[0] if found.start() in flags or _is_needed(text, found.start()) else ""
            ),
            text,
        )
        if cleaned == text:
            break
        text = cleaned
    return text


def _is_needed(text: str, at: int) -> bool:
    character = text[at]
    before = text[at - 1] if at else ""
    after = text[at + 1 : at + 2]
    if character == "\u200d":
        return bool(_IS_JOINED.match(before)) or (_is_emoji(before) and _is_symbol(after))
    if character in "\u200b\u200c":
        return bool(_IS_JOINED.match(before) and _IS_JOINED.match(after))
    if character == "\u034f":  # keeps two marks apart
        return _is_mark(before) and _is_mark(after)
    if character in "\u115f\u1160":
        return bool(_IS_JAMO.match(before) or _IS_JAMO.match(after))
    if "\u180b" <= character <= "\u180f":
        return bool(_IS_MONGOLIAN.match(before))
    if character in "\ufe0e\ufe0f":  # as text, as a picture
        return _is_symbol(before) or before in ("#", "*", *"0123456789") or _is_ideographic(before)
    if "\ufe00" <= character <= "\ufe0d" or "\U000e0100" <= character <= "\U000e01ef":
        return _is_ideographic(before) or _is_symbol(before) or bool(_IS_JOINED.match(before))
    return False


def _is_emoji(character: str) -> bool:
    return character == "\ufe0f" or _is_symbol(character) or bool(_IS_TONE.match(character))


def _is_symbol(character: str) -> bool:
    """Match a pictograph, an arrow, or a punctuation mark with an emoji form (‼, 〰)."""
    return bool(character) and (
        unicodedata.category(character) in ("So", "Sm") or character in "\u203c\u2049\u3030\u303d"
    )


def _is_ideographic(character: str) -> bool:
    return "\u2e80" <= character <= "\u9fff" or "\U00020000" <= character <= "\U0003ffff"


def _is_mark(character: str) -> bool:
    return bool(character) and unicodedata.category(character)[0] == "M"
