r"""Validate and normalise the texts that users write. Pure.

Guarantees: a stored text is Unicode in composed form (NFC), with ``\n`` as the only line break and
no white space around it. It has at least one visible character, and none that reverses, hides or
breaks the text next to it: no control characters, no bidirectional overrides, isolates only if they
are closed and the text has right-to-left letters, no invisible characters that no script needs
(``invisible``), no stacks of combining marks. It is plain text or Markdown, never HTML: what looks
like a tag is shown as it was typed (``markdown``).

A text that breaks a rule is rejected with a message; only invisible defects are repaired.
"""

import re
import unicodedata
from typing import Annotated, Final
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, StringConstraints

from blog_service.invisible import remove_invisible

TITLE_LENGTH_MAX: Final = 200
POST_LENGTH_MAX: Final = 20_000
COMMENT_LENGTH_MAX: Final = 5_000
DISPLAY_NAME_LENGTH_MAX: Final = 50
BIO_LENGTH_MAX: Final = 500
AVATAR_URL_LENGTH_MAX: Final = 500
SEARCH_LENGTH_MAX: Final = 200
"""In characters, counted both as sent and as stored."""

MARKS_IN_A_ROW_MAX: Final = 30
"""Combining marks on one letter (the Stream-Safe Text Format of UAX #15); no language needs ten.

Marks that NFC does not reorder count too, also with joiners between them.

NFC sorts a sequence of marks in quadratic time: twenty thousand marks would block the process for
half a second."""

DELETED_USER: Final = "deleted user"
"""The author's name on content of deleted users; nobody can choose it."""

_LOOKS_LIKE: Final = str.maketrans(
    {
        look: letter
        for letter, looks in {
            "d": "ԁᴅꓒᗞ",
            "e": "3еɛεєёҽᴇꓰ€",
            "l": "1|ιіӏıłɩʟǀǃ!iꓡاן",
            "t": "7тτᴛꓔ+",
            "u": "υսᴜцμʋꓴ",
            "s": "5ѕꜱ$ꓢ§",
            "r": "гʀꭇꓣᴦ",
        }.items()
        for look in looks
    }
)
"""Letters of other alphabets, digits and symbols that resemble the letters of ``DELETED_USER``."""

_LINES_END: Final = re.compile(r"[\n\u2028\u2029]")
_LINE_BREAK: Final = re.compile(r"\r\n?")
_CONTROL: Final = re.compile(r"[\x00-\x08\x0B-\x1F\x7F-\x9F]")
_NOT_IN_A_LINE: Final = re.compile(r"[\t\n\u2028\u2029]")
_BIDI_OVERRIDE: Final = re.compile(r"[\u202A-\u202E]")
_ISOLATE: Final = re.compile(r"[\u2066-\u2069]")
_END_OF_ISOLATE: Final = "\u2069"
_INVISIBLE_LETTERS: Final = "\u115f\u1160\u2800\u3164\uffa0\U0001d159"
"""Characters in a visible category that are blank: fillers of Hangul, Braille and scores."""


def _multi_line(text: str) -> str:
    """Return ``text`` as it is stored.

    Raises:
        ValueError: the text breaks a rule.
    """
    text = _LINE_BREAK.sub("\n", text)
    if not text.isascii():
        _check_combining_marks(text)
        text = unicodedata.normalize("NFC", remove_invisible(text))
    text = text.strip()
    if _CONTROL.search(text):
        raise ValueError("must not contain control characters")
    if _BIDI_OVERRIDE.search(text) or not _isolates_are_needed(text):
        raise ValueError("must not contain bidirectional control characters")
    if not any(_is_visible(character) for character in text):
        raise ValueError("must contain at least one visible character")
    return text


def _isolates_are_needed(text: str) -> bool:
    """Tell whether each isolate is closed in its line and the text has right-to-left letters."""
    if not _ISOLATE.search(text):
        return True
    for line in _LINES_END.split(text):
        depth = 0
        for mark in _ISOLATE.findall(line):
            depth += -1 if mark == _END_OF_ISOLATE else 1
            if depth < 0:
                return False
        if depth:
            return False
    return any(unicodedata.bidirectional(character) in ("R", "AL") for character in text)


def _single_line(text: str) -> str:
    text = _multi_line(text)
    if _NOT_IN_A_LINE.search(text):
        raise ValueError("must be a single line without tabs")
    return text


def _display_name(text: str) -> str:
    text = _single_line(text)
    if _letters(text) == _letters(DELETED_USER):
        raise ValueError(f"must not resemble {DELETED_USER!r}, the name shown for deleted accounts")
    return text


def _letters(text: str) -> str:
    """Return the letters that ``text`` appears to consist of, with look-alikes replaced."""
    compatible = unicodedata.normalize("NFKD", text).casefold().translate(_LOOKS_LIKE)
    return "".join(character for character in compatible if character.isalnum())


def _check_combining_marks(text: str) -> None:
    marks = 0
    for character in text:
        category = unicodedata.category(character)
        if category[0] == "M":
            marks += 1
        elif category != "Cf":
            marks = 0
        if marks > MARKS_IN_A_ROW_MAX:
            raise ValueError(
                f"must not have more than {MARKS_IN_A_ROW_MAX} combining marks in a row"
            )


def _is_visible(character: str) -> bool:
    # A mark does not count: some are blank, and the others need a letter.
    return unicodedata.category(character)[0] not in "ZCM" and character not in _INVISIBLE_LETTERS


_HTTPS: Final = re.compile(r"https://[A-Za-z0-9.:\[\]-]+([/?#][!#-;=?-Z_a-z~\[\]]*)?", re.ASCII)
"""ASCII without the characters that RFC 3986 forbids, such as quotes, ``<>``, backslashes and
spaces, so that the URL is safe in any context. No user name or password before the host."""


def _https_url(url: str) -> str:
    try:
        parts = urlsplit(url)
        is_usable = bool(_HTTPS.fullmatch(url) and parts.hostname) and parts.port != 0
    except ValueError:  # a port that is not a number, an unclosed bracket
        is_usable = False
    if not is_usable:
        raise ValueError("must be an https:// URL in ASCII characters")
    return url


_ONE_LINE: Final = "one line of plain text"
_PLAIN: Final = "plain text"
_MARKDOWN: Final = "Markdown"

RENDERED: Final = "the body as HTML, which is safe in any page"
"""The description of a rendered text in responses."""

# The second limit is for NFC, which makes texts of a few scripts longer.
Title = Annotated[
    str,
    Field(min_length=1, max_length=TITLE_LENGTH_MAX, description=_ONE_LINE),
    AfterValidator(_single_line),
    StringConstraints(max_length=TITLE_LENGTH_MAX),
]
PostText = Annotated[
    str,
    Field(min_length=1, max_length=POST_LENGTH_MAX, description=_MARKDOWN),
    AfterValidator(_multi_line),
    StringConstraints(max_length=POST_LENGTH_MAX),
]
CommentText = Annotated[
    str,
    Field(min_length=1, max_length=COMMENT_LENGTH_MAX, description=_MARKDOWN),
    AfterValidator(_multi_line),
    StringConstraints(max_length=COMMENT_LENGTH_MAX),
]
DisplayName = Annotated[
    str,
    Field(min_length=1, max_length=DISPLAY_NAME_LENGTH_MAX, description=_ONE_LINE),
    AfterValidator(_display_name),
    StringConstraints(max_length=DISPLAY_NAME_LENGTH_MAX),
]
Bio = Annotated[
    str,
    Field(min_length=1, max_length=BIO_LENGTH_MAX, description=_PLAIN),
    AfterValidator(_multi_line),
    StringConstraints(max_length=BIO_LENGTH_MAX),
]
AvatarUrl = Annotated[
    str,
    Field(
        min_length=1,
        max_length=AVATAR_URL_LENGTH_MAX,
        description="the https:// URL of a picture",
    ),
    AfterValidator(_https_url),
]
SearchWords = Annotated[
    str,
    Field(
        min_length=1,
        max_length=SEARCH_LENGTH_MAX,
        description='words that all have to be in title or body; "several words" next to each '
        "other, one or another, and without those that begin with -",
    ),
    AfterValidator(_single_line),
]
