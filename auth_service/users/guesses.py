"""Estimate how many guesses a text takes, as the estimator ``zxcvbn`` does, in less time.

The estimator looks each part of the text up in eight dictionaries, forwards and backwards. These
are thousands of look-ups in tables of which argon2, beside it, has left nothing in the caches. Here
each part is looked up in one set of all words, and the estimator gets the words that it can find.

Guarantees: guesses and pieces are those of the estimator.
"""

from collections.abc import Iterable, Mapping, Sequence
from threading import Lock
from typing import Any, Final

from zxcvbn.matching import L33T_TABLE, RANKED_DICTIONARIES, build_ranked_dict, omnimatch
from zxcvbn.scoring import most_guessable_match_sequence

_WORDS: Final = frozenset[str]().union(*RANKED_DICTIONARIES.values())

_SUBSTITUTES: Final = frozenset(sign for signs in L33T_TABLE.values() for sign in signs)
"""Signs that the estimator reads as letters: a text with one has more words than it shows."""

_LONGEST: Final = max(map(len, _WORDS))

_ESTIMATING: Final = Lock()
"""The estimator has the words that it is given in a global table."""


def estimated_guesses(text: str, known: Iterable[str]) -> tuple[int, Sequence[Mapping[str, Any]]]:
    """Return how many guesses ``text`` takes, and the pieces it is made of.

    Parameters:
        text: in lower case, at least one character; the work grows with the square of its length.
        known: words that a guesser tries first, in lower case.
    """
    own = build_ranked_dict(known)
    with _ESTIMATING:
        RANKED_DICTIONARIES["user_inputs"] = own
        found = most_guessable_match_sequence(text, omnimatch(text, _dictionaries(text, own)))
    return int(found["guesses"]), found["sequence"]


def _dictionaries(text: str, own: Mapping[str, int]) -> Mapping[str, Mapping[str, int]]:
    """The dictionaries, without words that are not in ``text``."""
    if not _SUBSTITUTES.isdisjoint(text):
        return RANKED_DICTIONARIES  # type: ignore[no-any-return]
    longest = max(_LONGEST, *map(len, own))
    words = [
        part
        for direction in (text, text[::-1])
        for start in range(len(text))
        for end in range(start + 1, min(start + longest, len(text)) + 1)
        if (part := direction[start:end]) in _WORDS or part in own
    ]
    few = {
        name: {word: ranks[word] for word in words if word in ranks}
        for name, ranks in RANKED_DICTIONARIES.items()
    }
    return {name: ranks for name, ranks in few.items() if ranks}
