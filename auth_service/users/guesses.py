"""Estimate how many guesses a text takes, as the estimator ``zxcvbn`` does, in less time.

The estimator looks each part of the text up in eight dictionaries, forwards and backwards. These
are thousands of look-ups in tables of which argon2, beside it, has left nothing in the caches. Here
each part is looked up in one set of all words, and the estimator gets the words that it can find.
Of the sequences of pieces that the text may be made of, only short ones are tried: by the
estimator's own formula, each further piece multiplies the guesses by ten thousand at least.

Guarantees: the verdict is the estimator's; so are guesses and pieces, where they are not enough.
"""

from collections.abc import Iterable, Mapping, Sequence
from math import factorial, inf
from threading import Lock
from typing import Any, Final

from zxcvbn.matching import L33T_TABLE, RANKED_DICTIONARIES, build_ranked_dict, omnimatch
from zxcvbn.scoring import (
    MIN_GUESSES_BEFORE_GROWING_SEQUENCE,
    estimate_guesses,
    most_guessable_match_sequence,
)

_WORDS: Final = frozenset[str]().union(*RANKED_DICTIONARIES.values())

_SUBSTITUTES: Final = frozenset(sign for signs in L33T_TABLE.values() for sign in signs)
"""Signs that the estimator reads as letters: a text with one has more words than it shows."""

_LONGEST: Final = max(map(len, _WORDS))

_ESTIMATING: Final = Lock()
"""The estimator has the words that it is given in a global table."""


def estimated_guesses(
    text: str, known: Iterable[str], enough: int
) -> tuple[int, Sequence[Mapping[str, Any]]]:
    """Return how many guesses ``text`` takes, and the pieces it is made of.

    Parameters:
        text: in lower case, at least one character; the work grows with the square of its length.
        known: words that a guesser tries first, in lower case.
        enough: stands for any higher number, without pieces.
    """
    own = build_ranked_dict(known)
    with _ESTIMATING:
        RANKED_DICTIONARIES["user_inputs"] = own
        matches = omnimatch(text, _dictionaries(text, own))
        if _takes(enough, text, matches):
            return enough, ()
        found = most_guessable_match_sequence(text, matches)
    return int(found["guesses"]), found["sequence"]


def _takes(enough: int, text: str, matches: Iterable[dict[str, Any]]) -> bool:
    """Whether all sequences of pieces that make up ``text`` take so many guesses.

    A sequence of n pieces takes n! times the product of their guesses, plus 10,000^(n-1).
    """
    pieces: list[list[tuple[int, int]]] = [[] for _ in range(len(text) + 1)]
    for match in matches:
        pieces[match["j"] + 1].append((match["i"], int(estimate_guesses(match, text))))
    for end in range(1, len(text) + 1):  # any characters; more of them take enough by themselves
        longest = min(end, len(str(enough)))
        pieces[end] += [(end - length, 10**length) for length in range(1, longest + 1)]
    count = 0
    fewest: list[float] = [1] + [inf] * len(text)  # by the length of what the pieces make up
    while MIN_GUESSES_BEFORE_GROWING_SEQUENCE**count < enough:
        fewest = [min((fewest[i] * guesses for i, guesses in each), default=inf) for each in pieces]
        more = MIN_GUESSES_BEFORE_GROWING_SEQUENCE**count
        count += 1
        if factorial(count) * fewest[-1] + more < enough:
            return False
    return True


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
