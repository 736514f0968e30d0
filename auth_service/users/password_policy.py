"""Which passwords are accepted (NIST SP 800-63B-4 3.1.1.2, OWASP ASVS 5.0 6.2). Pure.

A password has to be long; nothing is asked about the kinds of its characters. Refused is what is
guessed first. ASVS 6.2.4 asks for a list of at least 3,000 common passwords *that match the
policy*, but nearly none of the common ones has 15 characters (31 of the 30,000 here), so that the
bare list would stop nobody. What people do with a common password to make it long enough is
therefore refused as well: to repeat it, to go on with a run of neighbouring keys, or to use nothing
but such a run. Each listed password thereby stands for a family at every length, which is far more
than 3,000 that match. The account's own address and the service's name are common words in this
place (ASVS 6.2.11).

Guarantees: a password is compared as it is hashed (NFKC) and in no case; the work grows with its
length alone, whatever it holds. No message repeats it.

Not here: lists of stolen passwords, which have to be asked for over the network.
"""

import unicodedata
from itertools import pairwise
from typing import Final

from zxcvbn.frequency_lists import FREQUENCY_LISTS

from auth_service.users.model import PASSWORD_LENGTH_MAX

LISTED: Final = frozenset(word.casefold() for words in FREQUENCY_LISTS.values() for word in words)
"""Common passwords, and common words and names, which are passwords too. Only the lists are used:
the estimator that they come with takes seconds for some inputs."""

LISTED_LENGTH_MAX: Final = max(map(len, LISTED))

UNIT_LENGTH_MAX: Final = 4
"""A unit of that many characters adds little to a password, however often it is repeated."""

SERVICE_NAME: Final = "usersync"

OTHERS_MIN: Final = 8
"""Characters besides those that everybody knows of the account: NIST's least for any password."""

CONTEXT_LENGTH_MIN: Final = 3
"""Of a local part that is looked for; one or two letters are in every text."""

_SEQUENCES: Final = (
    "abcdefghijklmnopqrstuvwxyz",
    "1234567890",
    # A keyboard, row after row and column after column, in its American, German and French forms.
    "qwertyuiopasdfghjklzxcvbnm",
    "qwertzuiopasdfghjklyxcvbnm",
    "azertyuiopqsdfghjklmwxcvbn",
    "1qaz2wsx3edc4rfv5tgb6yhn7ujm",
    "!@#$%^&*()",
)

_NEIGHBOURS: Final = frozenset(
    pair
    for row in _SEQUENCES
    for one, other in pairwise(row + row[0])
    for pair in ((one, other), (other, one), (one, one), (other, other))
)


class WeakPassword(Exception):
    """The password would be guessed; the message says why, and does not repeat it."""


def demand_strong(password: str, *, email: str, length_min: int) -> None:
    """Accept ``password`` for the account of ``email``, or raise ``WeakPassword``.

    Parameters:
        password: as it was typed.
        email: the account's address, in any form.
        length_min: characters that it needs.
    """
    normalised = unicodedata.normalize("NFKC", password)
    if len(normalised) < length_min:
        raise WeakPassword(f"a password has at least {length_min} characters")
    if len(normalised) > PASSWORD_LENGTH_MAX:
        raise WeakPassword(f"a password has at most {PASSWORD_LENGTH_MAX} characters")
    folded = normalised.casefold()
    if folded in LISTED:
        raise WeakPassword("this is one of the passwords that are guessed first")
    if _is_repetition(folded):
        raise WeakPassword("a short or common text that is repeated is guessed early")
    if _run_from_start(folded) == len(folded):
        raise WeakPassword("a run of neighbouring letters, digits or keys is guessed early")
    if _is_listed_with_a_run(folded):
        raise WeakPassword("a common word and a run of neighbouring characters is guessed early")
    if _others(folded, email) < OTHERS_MIN:
        raise WeakPassword(
            "besides your e-mail address and the name of this service, a password has at least "
            f"{OTHERS_MIN} characters"
        )


def _is_repetition(text: str) -> bool:
    """Whether ``text`` is a short or listed unit, again and again, the last time maybe in part."""
    return any(
        text[length:] == text[:-length] and (length <= UNIT_LENGTH_MAX or text[:length] in LISTED)
        for length in range(1, min(len(text) - 1, LISTED_LENGTH_MAX) + 1)
    )


def _run_from_start(text: str) -> int:
    """How many characters from the start each are the neighbour of the one before, or the same."""
    for length, pair in enumerate(pairwise(text), start=1):
        if pair[0] != pair[1] and pair not in _NEIGHBOURS:
            return length
    return len(text)


def _is_listed_with_a_run(text: str) -> bool:
    after_run = _run_from_start(text)
    before_run = len(text) - _run_from_start(text[::-1])
    return any(
        text[start:] in LISTED
        for start in range(max(1, len(text) - LISTED_LENGTH_MAX), after_run + 1)
    ) or any(
        text[:end] in LISTED
        for end in range(max(1, before_run), min(len(text), LISTED_LENGTH_MAX + 1))
    )


def _others(text: str, email: str) -> int:
    """How many characters remain without the address, its local part and the service's name."""
    address = unicodedata.normalize("NFKC", email).casefold()
    for known in (address, address.partition("@")[0], SERVICE_NAME):
        if len(known) >= CONTEXT_LENGTH_MIN:
            text = text.replace(known, "")
    return len(text)
