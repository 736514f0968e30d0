"""What the demonstration shows at one moment, and how it came about."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from local.watch import Sample

HISTORY_MAX: Final = 100
"""Samples that a scene keeps: as many as the widest frame can chart."""


class Mood(StrEnum):
    """What an event of the demonstration means for the system."""

    CALM = "calm"
    BREAKS = "breaks"
    HEALS = "heals"
    PROVED = "proved"


@dataclass(frozen=True)
class Moment:
    """An event of the demonstration."""

    seconds: float
    """Since the start."""
    mood: Mood
    text: str


@dataclass(frozen=True)
class Scene:
    """All figures at one moment; a picture is made of nothing else."""

    seconds: float
    """Since the start."""
    now: Sample
    behind: tuple[int, ...]
    """The users that the replica was behind, over time."""
    consumer_pid: int | None
    """None while it is down."""
    counts: Mapping[str, int]
    """What the simulated people did, by the names of ``Traffic.counts``."""
    refused_after_ms: float | None
    """From a deletion to the first refusal of the token, usually; None before the first."""
    moments: tuple[Moment, ...]

    @property
    def last(self) -> Moment:
        """The last event: the state that the system is in."""
        return self.moments[-1] if self.moments else Moment(0.0, Mood.CALM, "")


@dataclass
class Story:
    """The events so far."""

    started: float = field(default_factory=time.monotonic)
    moments: list[Moment] = field(default_factory=list)
    tell: Callable[[Moment], None] = lambda _: None

    @property
    def seconds(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self.started

    def note(self, mood: Mood, text: str) -> None:
        """Record an event that happened just now."""
        moment = Moment(self.seconds, mood, text)
        self.moments.append(moment)
        self.tell(moment)
