"""Accept or refuse a new password (NIST SP 800-63B-4 3.1.1.2, OWASP ASVS 5.0 6.2). Pure.

A password must be long and hard to guess. There are no rules about kinds of characters.

*Long* counts what was typed: visible characters before any normalisation, a run of blanks once.
Normalising turns U+FDFA into 18 characters, and invisible characters cost a guesser nothing.

*Hard to guess* is what the estimator ``zxcvbn`` says. It knows lists of passwords, words and names
(also reversed or with digits for letters), rows of keys, sequences, repeats and dates. It judges
several readings of the password, and the weakest counts: a guesser undoes case, accents, separators
and doubling at no cost. The account's address, the service's name and well-known phrases count as
common words (ASVS 6.2.11).

Guarantees: the work is bounded for any input (``WINDOW``); no message repeats the password. It
takes some milliseconds of Python, so callers run it off the event loop.

Not here: lists of stolen passwords, which would need requests over the network.
"""

import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final

from auth_service.users.guesses import estimated_guesses
from auth_service.users.invisible import FILLERS
from auth_service.users.known_phrases import PHRASES, TIMES
from auth_service.users.model import PASSWORD_LENGTH_MAX

SERVICE_NAME: Final = "usersync"

GUESSES_MIN: Final = 10**10
"""The estimator's best score, 4. The password is the only factor: with stolen hashes and ten
thousand guesses a second, finding it takes two weeks at the very least."""

WINDOW: Final = 40
"""Characters given to the estimator at once. Its time grows at least with the square: the worst
input took 35 ms at 40 characters (an ordinary one takes 3 ms), and 117 ms at 72."""

CONTEXT_LENGTH_MIN: Final = 3
"""Of a part of the address that counts as known; one or two letters are in every text."""

OTHERS_MIN: Final = 8
"""Characters apart from those that everybody knows of the account; NIST's minimum for any password.
The estimator overrates many small pieces, even if all are the same one."""

UNIT_LENGTH_MIN: Final = 4
"""Of a unit that counts once however often it is repeated; the estimator detects shorter ones."""

CHARACTERS_CACHED: Final = 1_024
"""Characters whose kind is known at once: more than the keys of several keyboards."""

_INVISIBLE: Final = re.compile(f"[{FILLERS}]")

_SEPARATORS: Final = frozenset("-_.,:;/\\~'\"`*=#&")
"""Between the words of a phrase; none of them stands for a letter."""

_REPEATED: Final = re.compile(rf"(.{{{UNIT_LENGTH_MIN},}}?)\1+", re.DOTALL)

_TURNS: Final = re.compile(r"(?:\d\D){3,}|(?:\D\d){3,}")
_DOUBLED: Final = re.compile(r"(?:(.)\1){3,}", re.DOTALL)
_DIGITS: Final = re.compile(r"\d+")

_KEYS: Final = str.maketrans(
    '!@#$%^&*()_+{}|:"<>?~' + "йцукенгшщзхъфывапролджэячсмитьбю",
    "1234567890-=[]\\;',./`" + "qwertyuiop[]asdfghjkl;'zxcvbnm,.",
)
"""Which key of an American keyboard types a symbol or, with a Russian layout, a letter."""

_LETTERS: Final = str.maketrans("@({[<!|$+%", "accccilstx")
"""Which letter a symbol stands for. Symbols are read in both ways before the estimator sees them,
since it would try all combinations, which takes seconds."""

_NAMES: Final = sorted(TIMES, key=len, reverse=True)
_TIME: Final = re.compile(rf"({'|'.join(_NAMES)})|(?<=\d)(?:st|nd|rd|th)")

_OF_THE_ACCOUNT: Final = (
    "it contains little apart from your e-mail address and the name of this service; use a few "
    "unrelated words"
)


class WeakPassword(Exception):
    """The password is too easy to guess; the message says why and does not repeat it."""


def require_strong_password(password: str, *, email: str, length_min: int) -> None:
    """Accept ``password``, or raise ``WeakPassword``.

    Parameters:
        password: as it was typed.
        email: the account's address, in any form.
        length_min: the required number of characters.
    """
    normalised = unicodedata.normalize("NFKC", password)
    if length(password) < length_min:
        raise WeakPassword(
            f"use at least {length_min} characters. Several blanks in a row count as one, and "
            "invisible characters do not count"
        )
    if len(normalised) > PASSWORD_LENGTH_MAX:
        raise WeakPassword(f"use at most {PASSWORD_LENGTH_MAX} characters")
    context = _context(email)
    known = [*context, *PHRASES]
    # A random password of a smaller minimum is worth less, and may lose its separators.
    guesses_min = min(GUESSES_MIN, 10 ** (length_min - 2))
    squeezed = _squeezed(_plain(normalised))
    for reading in _readings(squeezed):
        if _others(reading, context) < min(OTHERS_MIN, len(reading)):
            raise WeakPassword(_OF_THE_ACCOUNT)
        guesses, sequence = _estimate(reading, known, guesses_min)
        if guesses < guesses_min:
            raise WeakPassword(_reason(sequence, context, is_repeated=_is_repeated(squeezed)))


def length(password: str) -> int:
    """Count the typed characters: visible ones, a run of blanks once.

    Composed and decomposed forms count the same, and normalising adds nothing.
    """
    shown = [c for c in unicodedata.normalize("NFC", password) if not _is_invisible(c)]
    words = "".join(" " if _is_blank(c) else c for c in shown).split(" ")
    composed = len(" ".join(word for word in words if word))
    # Composition turns a few characters, each typed as one, into two or three.
    return min(composed, len(password))


@lru_cache(CHARACTERS_CACHED)
def _is_invisible(character: str) -> bool:
    return unicodedata.category(character) in ("Cf", "Cn") or bool(_INVISIBLE.match(character))


@lru_cache(CHARACTERS_CACHED)
def _is_blank(character: str) -> bool:
    return unicodedata.category(character) in ("Zs", "Zl", "Zp", "Cc")


def _plain(text: str) -> str:
    """Return ``text`` in lower case, without accents on Latin letters."""
    folded = text.casefold()
    if folded.isascii():
        return folded
    bare = "".join(
        c for c in unicodedata.normalize("NFKD", folded) if unicodedata.category(c) != "Mn"
    )
    return bare if bare.isascii() else folded


def _squeezed(text: str) -> str:
    """Return ``text`` without blanks, invisible characters and the one separator of its words."""
    text = "".join(c for c in text if not _is_blank(c) and not _is_invisible(c))
    separators = set(text) & _SEPARATORS
    return text.replace(separators.pop(), "") if len(separators) == 1 else text


def _is_repeated(text: str) -> bool:
    return _REPEATED.search(text) is not None or _numbered(text) != text


def _readings(squeezed: str) -> Iterator[str]:
    """The readings of the password that a guesser would try, each once."""
    once = _REPEATED.sub(r"\1", squeezed)
    seen = set()
    for symbols in (_LETTERS, _KEYS):
        reading = once.translate(symbols)
        dated = _TIME.sub(lambda found: TIMES.get(found[0], ""), reading)
        for text in (reading, dated, _parted(reading), _numbered(reading)):
            if text not in seen:
                seen.add(text)
                yield text


def _numbered(text: str) -> str:
    """Reduce a word repeated with numbers to the word once, followed by all digits."""
    found = _REPEATED.fullmatch(_DIGITS.sub("", text))
    return found[1] + "".join(_DIGITS.findall(text)) if found else text


def _parted(text: str) -> str:
    """Separate two alternating series, and reduce doubled characters to one."""
    parted = _TURNS.sub(lambda found: found[0][::2] + found[0][1::2], text)
    return _DOUBLED.sub(lambda found: found[0][::2], parted)


def _estimate(
    text: str, known: list[str], guesses_min: int
) -> tuple[int, Sequence[Mapping[str, Any]]]:
    """Estimate how many guesses ``text`` takes, and the pieces it is made of.

    A long text is judged by its beginning, or by its end if that takes more guesses.
    """
    found: tuple[int, Sequence[Mapping[str, Any]]] = (0, [])
    for window in dict.fromkeys((text[:WINDOW], text[-WINDOW:])):
        if not window:
            continue
        found = max(found, estimated_guesses(window, known, guesses_min), key=lambda f: f[0])
        if found[0] >= guesses_min:
            break
    return found


def _context(email: str) -> list[str]:
    """The words that everybody knows of the account, in the form of a reading."""
    address = _plain(unicodedata.normalize("NFKC", email))
    local, _, domain = address.rpartition("@")
    parts = [SERVICE_NAME, address, local, domain, *re.split(r"[\W_]+", f"{local}.{domain}")]
    read = (_squeezed(part).translate(_LETTERS)[:WINDOW] for part in parts)
    return [part for part in dict.fromkeys(read) if len(part) >= CONTEXT_LENGTH_MIN]


def _others(text: str, context: list[str]) -> int:
    """Count the characters of ``text`` outside ``context``, also in reverse."""
    for known in sorted(context, key=len, reverse=True):
        text = text.replace(known, "").replace(known[::-1], "")
    return len(text)


def _reason(sequence: Sequence[Mapping[str, Any]], context: list[str], *, is_repeated: bool) -> str:
    """Explain the refusal of a password that is made of these pieces."""
    if any(piece.get("matched_word") in context for piece in sequence):
        return _OF_THE_ACCOUNT
    if is_repeated:
        return "repeating a text adds little; use a few unrelated words"
    patterns = {piece["pattern"] for piece in sequence}
    if patterns <= {"spatial", "sequence"}:
        return (
            "runs of neighbouring letters, digits or keys are guessed early; use a few unrelated "
            "words"
        )
    if patterns == {"dictionary"} and len(sequence) == 1:
        return "this is among the first passwords that are guessed; use a few unrelated words"
    return (
        "common words, names, dates and runs of keys are guessed early; use a few more, unrelated "
        "words"
    )
