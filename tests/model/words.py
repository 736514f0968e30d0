"""Tell a trace in words."""

from collections.abc import Callable, Iterable
from typing import Any, Final

from replica.reconcile.kinds import Difference
from tests.model.explore import Exploration, Violation
from tests.model.state import BEAT, NAMES, Entry, Message, Record, Report, Step


def story(violation: Violation) -> str:
    """Tell a violation: the steps to it, how the system settles, and what is broken."""
    lines = [f"{number:>3}. {sentence(step)}" for number, step in enumerate(violation.steps, 1)]
    if violation.settling:
        lines.append("     Then all faults end:")
        first = len(violation.steps) + 1
        lines += [
            f"{number:>3}. {sentence(step)}"
            for number, step in enumerate(violation.settling, first)
        ]
    return "\n".join([*lines, f"     Broken: {violation.what}."])


def size(name: str, exploration: Exploration) -> str:
    extent = "all of them" if exploration.is_complete else "some of them"
    return (
        f"{name}: {exploration.states:,} states ({extent}), {exploration.steps:,} steps,"
        f" {exploration.depth} deep, {exploration.seconds:.1f} s of CPU"
    )


def sentence(step: Step) -> str:
    return _TOLD[step.name](NAMES.get(-2 if step.user is None else step.user, ""), step.detail)


def _state(record: Record) -> str:
    if record.is_deleted:
        return f"the tombstone, version {record.version}"
    return f"version {record.version}"


def _thing(user: int, record: Record | None) -> str:
    if record is None:
        return f"{NAMES[user]}'s erased message"
    if user == BEAT:
        return f"heartbeat {record.version}"
    what = "deletion" if record.is_deleted else "state"
    return f"{NAMES[user]}'s {what} (version {record.version})"


def _things(things: Iterable[Entry | Message]) -> str:
    return " and ".join(_thing(each.user, each.record) for each in things) or "nothing"


def _found(found: Iterable[Difference | None]) -> str:
    told = [f"{NAMES[user]} is {kind}" for user, kind in enumerate(found) if kind is not None]
    return ", ".join(told).replace("_", " ") or "nobody differs"


def _ended(report: Report) -> str:
    verdict = "in step" if report.is_in_step else "drift"
    repaired = " and ".join(NAMES[user] for user in sorted(report.repaired)) or "nobody"
    return f"It ends: {_found(report.found)}; repaired: {repaired}; the verdict is {verdict}."


def _refused(_: str, detail: tuple[Entry, tuple[Entry, ...]]) -> str:
    refused, others = detail
    return f"The broker refuses {_thing(refused.user, refused.record)}; it takes {_things(others)}."


_TOLD: Final[dict[str, Callable[[str, Any], str]]] = {
    "created": lambda user, record: f"{user} signs up: {_state(record)} is committed.",
    "changed": lambda user, record: f"{user} changes: {_state(record)} is committed.",
    "deleted": lambda user, record: f"{user} is deleted: {_state(record)} is committed.",
    "beat": lambda _, number: f"The source records heartbeat {number}.",
    "sent": lambda _, wave: f"The relay sends {_things(wave)}.",
    "confirmed": lambda _, __: "The broker confirms, and the relay marks what it has sent.",
    "published": lambda _, wave: f"The relay sends {_things(wave)}, which is confirmed and marked.",
    "refused": _refused,
    "relay crashed": lambda _, __: "The relay crashes before it marks what it has sent.",
    "marked, then sent": lambda _, wave: f"The relay marks {_things(wave)} and sends it.",
    "marked, then crashed": lambda _, wave: f"The relay marks {_things(wave)}, and crashes.",
    "thawed": lambda _, entry: (
        f"A relay that was frozen sends {_thing(entry.user, entry.record)} again."
    ),
    "replayed": lambda _, entry: f"A replay sends {_thing(entry.user, entry.record)}.",
    "replayed as it is": lambda user, record: (
        f"A replay of the current state sends {user} at {_state(record)}."
    ),
    "applied": lambda _, batch: f"The consumer applies {_things(batch)}.",
    "applied, not acknowledged": lambda _, batch: (
        f"The consumer applies {_things(batch)}, and crashes before the acknowledgement."
    ),
    "overtook": lambda _, batch: f"Another consumer applies {_things(batch)} first.",
    "parked": lambda _, message: (
        f"The consumer cannot read {_thing(message.user, message.record)}, and parks it."
    ),
    "redriven": lambda _, message: f"{_thing(message.user, message.record)} is redriven.",
    "discarded": lambda user, _: f"What is parked of {user}, without a body, is discarded.",
    "provisioned": lambda user, _: f"{user}'s token arrives first: a provisional row is made.",
    "began, computing digests": lambda _, reason: (
        f"A comparison begins ({reason}): the replica's digests are computed from its rows."
    ),
    "folded": lambda _, side: f"The {side} folds its changes into its digests.",
    "began": lambda _, reason: f"A comparison begins ({reason}): the replica's digests are read.",
    "equal": lambda _, __: "The source's digests are equal: the verdict is in step.",
    "differs": lambda _, __: "The source's digests differ, and the replica's rows are read.",
    "staged": lambda _, number: f"The source's rows are read, and heartbeat {number} is requested.",
    "classified": lambda _, found: f"The comparison classifies: {_found(found)}.",
    "ended": lambda _, report: _ended(report),
    "could not compare": lambda _, __: "The heartbeat cannot arrive: there is no verdict.",
    "purged": lambda _, __: "The queue is purged.",
    "replica's standby falls behind": lambda _, __: "The replica's standby falls behind.",
    "replica failed over": lambda _, __: "The replica fails over to that standby.",
    "source's standby falls behind": lambda _, __: "The source's standby falls behind.",
    "source failed over": lambda _, __: "The source fails over to that standby.",
    "row changed by hand": lambda user, _: f"{user}'s row in the replica is changed by hand.",
    "row removed by hand": lambda user, _: f"{user}'s row in the replica is removed by hand.",
    "row changed past the triggers": lambda user, _: (
        f"{user}'s row in the replica is changed past the triggers."
    ),
    "row removed past the triggers": lambda user, _: (
        f"{user}'s row in the replica is removed past the triggers."
    ),
    "restored": lambda _, __: "The operator runs `restored`.",
    "erased again": lambda _, __: "The operator deletes again what is named as undone.",
}
