"""The result of a measurement: figures, the promises to compare them with, and the method.

Guarantees: a figure's name includes its unit. A ratio is computed within a round, in which both
sides met the same machine; the median over the rounds is reported.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

Figures = dict[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Promise:
    """A figure and the bound it must meet; the bound itself meets it."""

    words: str
    figure: str
    at_least: float | None = None
    at_most: float | None = None

    def is_met(self, figures: Figures) -> bool:
        """Whether the measured figure meets the bound."""
        measured = figures[self.figure]
        return (self.at_least is None or measured >= self.at_least) and (
            self.at_most is None or measured <= self.at_most
        )

    @property
    def bound(self) -> str:
        """The bound, for people."""
        return f"≥ {self.at_least:g}" if self.at_least is not None else f"≤ {self.at_most:g}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """The results of one measurement. ``how`` describes the method and its biases."""

    title: str
    how: str
    figures: Figures
    promises: Sequence[Promise]


def medians(rounds: Sequence[Figures]) -> Figures:
    """Compute the median of each figure over the rounds."""
    return {name: median(each[name] for each in rounds) for name in rounds[0]}


def percentile(values: Sequence[float], share: float) -> float:
    """Return the smallest value that at least ``share`` of all values do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
