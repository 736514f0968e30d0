"""Draw a schedule of faults from a seed: what goes wrong, where, when and for how long.

Guarantees: a schedule is a pure function of its seed.
"""

import random
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

RELAYS: Final = 2
CONSUMERS: Final = 3

PROCESSES: Final = (
    "auth-service api",
    *(f"auth-service relay {number}" for number in range(1, RELAYS + 1)),
    "blog-service api",
    *(f"blog-service consumer {number}" for number in range(1, CONSUMERS + 1)),
)

DATABASES: Final = ("auth database", "blog database")

LINKS: Final = (*DATABASES, "broker of the relays", "broker of the consumers", "source of the blog")
"""Connections that pass a proxy: to each database, to the broker, and to the auth API for
comparisons."""

SECONDS: Final = 9.0
"""How long faults may begin."""

FAULTS_MIN, FAULTS_MAX = 4, 8


class Kind(StrEnum):
    KILL = "kill"
    TERMINATE = "terminate"
    FREEZE = "freeze"
    CUT = "cut"
    REFUSE = "refuse"
    STALL = "stall"
    DEAF = "hold back what clients send to"
    MUTE = "hold back what comes from"
    RESTART_DATABASE = "restart"
    KILL_DATABASE = "kill the server of"
    FAIL_OVER = "fail over"
    RESTART_BROKER = "restart the broker"
    KILL_BROKER = "kill the broker"
    MEMORY_ALARM = "memory alarm"
    DISK_ALARM = "disk alarm"
    PURGE = "purge"
    DELETE_QUEUE = "delete queue"
    DELETE_EXCHANGE = "delete exchange"
    DELETE_BINDING = "delete binding"
    DELETE_VHOST = "delete virtual host"
    SET_CLOCK_BACK = "set the clock back"


@dataclass(frozen=True)
class _Choice:
    """How often a kind is drawn, where it happens, and for how long at least and at most."""

    weight: int
    targets: tuple[str, ...]
    shortest: float = 0.0
    longest: float = 0.0


QUEUE: Final = "blog.users"

_CHOICES: Final = {
    Kind.KILL: _Choice(12, PROCESSES, 0.2, 3.0),
    Kind.TERMINATE: _Choice(6, PROCESSES, 0.2, 3.0),
    Kind.FREEZE: _Choice(10, PROCESSES, 0.5, 6.0),
    Kind.CUT: _Choice(8, LINKS),
    Kind.REFUSE: _Choice(5, LINKS, 0.5, 4.0),
    Kind.STALL: _Choice(5, LINKS, 0.5, 5.0),
    Kind.DEAF: _Choice(5, LINKS, 0.5, 5.0),
    Kind.MUTE: _Choice(5, LINKS, 0.5, 5.0),
    Kind.RESTART_DATABASE: _Choice(3, DATABASES, 0.0, 2.0),
    Kind.KILL_DATABASE: _Choice(4, DATABASES, 0.0, 2.0),
    Kind.FAIL_OVER: _Choice(6, DATABASES, 0.5, 3.0),
    Kind.RESTART_BROKER: _Choice(2, ("the broker",), 0.0, 1.0),
    Kind.KILL_BROKER: _Choice(3, ("the broker",), 0.0, 1.0),
    Kind.MEMORY_ALARM: _Choice(2, ("the broker",), 1.0, 5.0),
    Kind.DISK_ALARM: _Choice(2, ("the broker",), 1.0, 5.0),
    Kind.PURGE: _Choice(5, (QUEUE,)),
    Kind.DELETE_QUEUE: _Choice(4, (QUEUE, "blog.users.dead", "blog.users.replay")),
    Kind.DELETE_EXCHANGE: _Choice(3, ("users", "users.replay", "blog.users.dead")),
    Kind.DELETE_BINDING: _Choice(3, (QUEUE,)),
    Kind.DELETE_VHOST: _Choice(2, ("the virtual host",), 0.0, 1.0),
    Kind.SET_CLOCK_BACK: _Choice(3, DATABASES),
}

_ONCE: Final = (
    {Kind.FAIL_OVER, Kind.RESTART_DATABASE, Kind.KILL_DATABASE},
    {Kind.RESTART_BROKER, Kind.KILL_BROKER, Kind.MEMORY_ALARM, Kind.DISK_ALARM, Kind.DELETE_VHOST},
    {Kind.SET_CLOCK_BACK},
)
"""Of each group one schedule has one: a server takes seconds to start again."""


@dataclass(frozen=True, order=True)
class Fault:
    """One fault; ``at`` and ``lasting`` are seconds."""

    at: float
    kind: Kind
    target: str
    lasting: float

    def __str__(self) -> str:
        what = str(self.kind) if self.target.startswith("the ") else f"{self.kind} {self.target}"
        return f"{self.at:4.1f} s  {what}" + (f", {self.lasting:.1f} s" if self.lasting else "")


@dataclass(frozen=True)
class Schedule:
    """All faults of one run, in the order of their times."""

    seed: int
    faults: tuple[Fault, ...]

    def fails_over(self, database: str) -> bool:
        """Whether a database fails over, and so needs a standby."""
        return any((each.kind, each.target) == (Kind.FAIL_OVER, database) for each in self.faults)

    def __str__(self) -> str:
        return "\n".join([f"seed {self.seed}", *(f"  {fault}" for fault in self.faults)])


def drawn(seed: int, kinds: frozenset[Kind] = frozenset(Kind)) -> Schedule:
    """Draw the schedule of a seed.

    Parameters:
        seed: any number.
        kinds: of faults to draw from.
    """
    chance = random.Random(seed)
    left = {kind: choice for kind, choice in _CHOICES.items() if kind in kinds}
    faults = []
    for _ in range(chance.randint(FAULTS_MIN, FAULTS_MAX)):
        [kind] = chance.choices(list(left), [choice.weight for choice in left.values()])
        choice = left[kind]
        faults.append(
            Fault(
                at=round(chance.uniform(0.5, SECONDS), 1),
                kind=kind,
                target=chance.choice(choice.targets),
                lasting=round(chance.uniform(choice.shortest, choice.longest), 1),
            )
        )
        for group in _ONCE:
            if kind in group:
                left = {other: each for other, each in left.items() if other not in group}
    return Schedule(seed, tuple(sorted(faults)))
