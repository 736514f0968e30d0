"""Try a consumer: feed it all messages, and compare what it shows with what must follow.

Guarantees: a run can be repeated on the same table, because every merge is idempotent.
"""

import asyncio
import json
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from contracts.conformance import judge
from contracts.conformance.consumer import Lanes, shown
from contracts.conformance.write_vectors import FOLDER

LOOK_EVERY_SECONDS: Final = 0.5
"""Between two looks at the table; a consumer takes well under a second for all messages."""

Report = Callable[[str], None]
Look = Coroutine[Any, Any, list[str]]
_Looks = Callable[[], Look]


@dataclass(frozen=True, slots=True, kw_only=True)
class UnderTest:
    """A consumer, and what shows its state: commands, or addresses, that give JSON lines.

    ``parked``, ``tokens`` and ``digests`` are None where it does not say; these are not compared.
    """

    amqp: str
    service: str
    table: str
    parked: str | None = None
    tokens: str | None = None
    digests: str | None = None
    seconds: float = 30.0
    """How long to wait for the last message to be settled."""


def vectors(name: str) -> dict[str, Any]:
    """Read one of the files."""
    content: dict[str, Any] = json.loads((FOLDER / f"{name}.json").read_text())
    return content


async def run(tested: UnderTest, report: Report) -> bool:
    """Try the consumer; return whether it conforms.

    Parameters:
        tested: a consumer that is running.
        report: gets a line for each difference, and one for each group.

    Raises:
        CannotRun: a part of it cannot be reached.
    """
    envelope, merge = vectors("envelope")["cases"], vectors("merge")["cases"]
    tokens, table = vectors("tokens"), vectors("digests")
    lanes = Lanes(tested.amqp, tested.service)
    messages = [("live", case["message"]) for case in envelope]
    messages += [(each["lane"], each) for case in merge for each in case["messages"]]
    await lanes.send(messages)
    deadline = time.monotonic() + tested.seconds
    groups = [
        ("merges", len(merge), partial(_rows, tested.table, merge), deadline),
        ("messages", len(envelope), partial(_rows, tested.table, envelope), deadline),
        ("queues", len(messages), partial(_left, lanes), deadline),
        ("parked", len(envelope), _if_given(_parked, tested.parked, envelope), deadline),
        ("tokens", len(tokens["tokens"]), _if_given(_verdicts, tested.tokens, tokens), 0.0),
        ("digests", len(table["rows"]), _if_given(_digests, tested.digests, table), 0.0),
    ]
    conforms = True
    for name, count, look, until in groups:
        if look is None:
            report(f"{name}: not compared")
            continue
        found = await look()
        while found and time.monotonic() < until:
            await asyncio.sleep(LOOK_EVERY_SECONDS)
            found = await look()
        for line in found:
            report(f"  {line}")
        report(f"{name}: {count} compared, {len(found)} differ")
        conforms = conforms and not found
    return conforms


def _if_given(look: Callable[[str, Any], Look], where: str | None, wanted: Any) -> _Looks | None:
    return None if where is None else partial(look, where, wanted)


async def _rows(where: str, cases: Sequence[Mapping[str, Any]]) -> list[str]:
    return list(judge.differences(cases, await shown(where)))


async def _left(lanes: Lanes) -> list[str]:
    left = sum((await lanes.present()).values())
    return [f"{left} messages are still in the queues"] if left else []


async def _parked(where: str, cases: Sequence[Mapping[str, Any]]) -> list[str]:
    return list(judge.parked_differences(cases, await shown(where)))


async def _verdicts(command: str, given: Mapping[str, Any]) -> list[str]:
    asked = dict(given) | {"tokens": [each["token"] for each in given["tokens"]]}
    return list(judge.verdict_differences(given["tokens"], await shown(command, asked)))


async def _digests(command: str, table: Mapping[str, Any]) -> list[str]:
    found = await shown(command, {"rows": [each["row"] for each in table["rows"]]})
    return list(judge.digest_differences(table, found[0] if found else {}))
