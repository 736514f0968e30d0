"""The texts that people write: how long they may be, and what may be in them. Pure.

Guarantees: what is kept is Unicode in its composed form (NFC), with one kind of line break and
nothing around it; it has something to see in it, and nothing that turns round, hides or breaks
what stands beside it: no control characters, no bidirectional overrides, no isolates but closed
ones beside letters that are written from right to left, no invisible characters that no script
needs (``invisible``), no towers of combining marks. It is plain text, never HTML, and is shown as
text.

A text that breaks a rule is refused with a sentence; only what nobody sees is mended.
"""

import re
import unicodedata
from typing import Annotated, Final
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, StringConstraints

from blog_service.invisible import without_hidden

TITLE_LENGTH_MAX: Final = 200
POST_LENGTH_MAX: Final = 20_000
COMMENT_LENGTH_MAX: Final = 5_000
DISPLAY_NAME_LENGTH_MAX: Final = 50
BIO_LENGTH_MAX: Final = 500
AVATAR_URL_LENGTH_MAX: Final = 500
"""Characters, counted both as sent and as kept."""

MARKS_IN_A_ROW_MAX: Final = 30
"""Combining marks on one letter (the Stream-Safe Text Format of UAX #15); no language has ten.

Also those that composing does not order, and whatever joiners are between them: all stand on it.

Ordering a row of them, as NFC does, takes time with the square of its length: twenty thousand
would hold the process for half a second."""

DELETED_USER: Final = "deleted user"
"""Under which name content of a deleted user stays; nobody else can have it."""

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
"""Letters of other alphabets, digits and signs that pass for letters of the name above."""

_LINES_END: Final = re.compile(r"[\n\u2028\u2029]")
_LINE_BREAK: Final = re.compile(r"\r\n?")
_CONTROL: Final = re.compile(r"[\x00-\x08\x0B-\x1F\x7F-\x9F]")
_NOT_IN_A_LINE: Final = re.compile(r"[\t\n\u2028\u2029]")
_TURNS_ROUND: Final = re.compile(r"[\u202A-\u202E]")
_ISOLATE: Final = re.compile(r"[\u2066-\u2069]")
_END_OF_ISOLATE: Final = "\u2069"
_INVISIBLE_LETTERS: Final = "\u115f\u1160\u2800\u3164\uffa0\U0001d159"
"""Of a category of things to see, and yet blank: fillers of Hangul, Braille and scores."""


def _lines(text: str) -> str:
    """``text`` as it is kept.

    Raises:
        ValueError: it breaks a rule.
    """
    text = _LINE_BREAK.sub("\n", text)
    if not text.isascii():
        _demand_few_marks(text)
        text = unicodedata.normalize("NFC", without_hidden(text))
    text = text.strip()
    if _CONTROL.search(text):
        raise ValueError("has control characters")
    if _TURNS_ROUND.search(text) or not _isolates_are_needed(text):
        raise ValueError("has characters that turn the direction of writing round")
    if not any(_is_visible(character) for character in text):
        raise ValueError("has nothing to see in it")
    return text


def _isolates_are_needed(text: str) -> bool:
    """Whether there are none, or each is closed in its line and something reads from the right."""
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


def _line(text: str) -> str:
    text = _lines(text)
    if _NOT_IN_A_LINE.search(text):
        raise ValueError("has more than one line, or tabs")
    return text


def _display_name(text: str) -> str:
    text = _line(text)
    if _letters(text) == _letters(DELETED_USER):
        raise ValueError(f"must not read as {DELETED_USER!r}, which is shown for deleted accounts")
    return text


def _letters(text: str) -> str:
    """The letters that ``text`` seems to consist of, whatever they are made of."""
    compatible = unicodedata.normalize("NFKD", text).casefold().translate(_LOOKS_LIKE)
    return "".join(character for character in compatible if character.isalnum())


def _demand_few_marks(text: str) -> None:
    marks = 0
    for character in text:
        category = unicodedata.category(character)
        if category[0] == "M":
            marks += 1
        elif category != "Cf":
            marks = 0
        if marks > MARKS_IN_A_ROW_MAX:
            raise ValueError(f"has more than {MARKS_IN_A_ROW_MAX} combining marks in a row")


def _is_visible(character: str) -> bool:
    # A mark is not: some are blank, and the others need a letter to stand on.
    return unicodedata.category(character)[0] not in "ZCM" and character not in _INVISIBLE_LETTERS


_HTTPS: Final = re.compile(r"https://[A-Za-z0-9.:\[\]-]+([/?#][!#-;=?-Z_a-z~\[\]]*)?", re.ASCII)
"""ASCII without what an address may not hold (RFC 3986), in whatever it is put: quotes, ``<>``,
backslashes, spaces. Nobody's name or password stands before the host."""


def _https_url(url: str) -> str:
    try:
        parts = urlsplit(url)
        is_usable = bool(_HTTPS.fullmatch(url) and parts.hostname) and parts.port != 0
    except ValueError:  # no number for a port, an open bracket
        is_usable = False
    if not is_usable:
        raise ValueError("must be an address that begins with https://, in ASCII")
    return url


_ONE_LINE: Final = "one line of plain text"
_PLAIN: Final = "plain text"

# The second limit: composing adds characters, if only in a few scripts.
Title = Annotated[
    str,
    Field(min_length=1, max_length=TITLE_LENGTH_MAX, description=_ONE_LINE),
    AfterValidator(_line),
    StringConstraints(max_length=TITLE_LENGTH_MAX),
]
PostText = Annotated[
    str,
    Field(min_length=1, max_length=POST_LENGTH_MAX, description=_PLAIN),
    AfterValidator(_lines),
    StringConstraints(max_length=POST_LENGTH_MAX),
]
CommentText = Annotated[
    str,
    Field(min_length=1, max_length=COMMENT_LENGTH_MAX, description=_PLAIN),
    AfterValidator(_lines),
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
    AfterValidator(_lines),
    StringConstraints(max_length=BIO_LENGTH_MAX),
]
AvatarUrl = Annotated[
    str,
    Field(
        min_length=1,
        max_length=AVATAR_URL_LENGTH_MAX,
        description="address of a picture; https:// alone",
    ),
    AfterValidator(_https_url),
]
