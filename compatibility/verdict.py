"""Decide what to do about the changes since the last release. Pure.

A break is refused, unless the major version differs, or a maintainer accepted it: a line in
``contracts/released/accepted-breaks`` has its sentence, ``because`` and the reason. A line that
accepts nothing any more is refused too, so that no line lets a later break pass.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from compatibility.change import Change

BECAUSE: Final = " because "


@dataclass(frozen=True, slots=True)
class Verdict:
    """The changes by what becomes of them; ``wrong_lines`` of the file of accepted breaks."""

    refused: list[Change]
    accepted: list[Change]
    reported: list[Change]
    wrong_lines: list[str]

    @property
    def is_good(self) -> bool:
        """Whether a release may have these changes."""
        return not self.refused and not self.wrong_lines


def decide(
    changes: Iterable[Change], accepted_breaks: str, *, released: str, present: str
) -> Verdict:
    """Judge all changes.

    Parameters:
        changes: what a comparison with the last release found.
        accepted_breaks: the text of the file; empty lines and those that begin with ``#`` are for
            people.
        released: the version of the last release, such as ``1.4.0``.
        present: the version that is being made.
    """
    found = list(dict.fromkeys(changes))
    breaks = {change.sentence: change for change in found if change.is_a_break}
    lines = [
        line for line in map(str.strip, accepted_breaks.splitlines()) if line and line[0] != "#"
    ]
    accepted, wrong = dict[str, Change](), []
    for line in lines:
        sentence, _, reason = line.partition(BECAUSE)
        if not reason.strip():
            wrong.append(f"{line!r} has no reason: end it with{BECAUSE}and the reason")
        elif sentence not in breaks:
            wrong.append(f"{line!r} accepts nothing any more: remove the line")
        else:
            accepted[sentence] = breaks[sentence]
    is_major = _major(present) != _major(released)
    return Verdict(
        refused=[] if is_major else [each for s, each in breaks.items() if s not in accepted],
        accepted=list(breaks.values() if is_major else accepted.values()),
        reported=[change for change in found if not change.is_a_break],
        wrong_lines=wrong,
    )


def _major(version: str) -> str:
    return version.partition(".")[0]
