"""Run one schedule from a new system to the judgement."""

import asyncio
import time
import traceback
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path

import httpx

from tests.chaos import history, judge, tap, traffic
from tests.chaos.faults import Chaos, Done
from tests.chaos.machines import Machines
from tests.chaos.project import Record, logs
from tests.chaos.schedule import Schedule
from tests.chaos.stage import Stage, staged
from tests.chaos.watch import Watch, watch
from tests.model.accept import accept
from tests.support.auth_api import PASSWORD
from tests.support.eventually import eventually

SIGN_IN_SECONDS_MAX = 30.0
"""Of the administrator: nothing fails yet, but the machine may be busy."""

LULL_SECONDS = 0.5
"""Of traffic without a fault, at the end."""


@dataclass
class Result:
    """What became of a run: nothing in ``failures`` is the good end."""

    schedule: Schedule
    began: float = field(default_factory=time.monotonic)
    acknowledged: int = 0
    users: int = 0
    observed: int = 0
    marks: dict[str, float] = field(default_factory=dict)
    """When each phase ended, in seconds of the run."""
    left_out: int = 0
    """Users whose story the model has no words for."""
    failures: list[str] = field(default_factory=list)
    excused: list[str] = field(default_factory=list)
    """What was acknowledged in the time that a failover of the auth database lost."""
    counts: dict[str, int] = field(default_factory=dict)

    def mark(self, phase: str) -> None:
        self.marks[phase] = time.monotonic() - self.began

    def __str__(self) -> str:
        head = (
            f"seed {self.schedule.seed}: {self.marks['ended']:.1f} s,"
            f" {len(self.schedule.faults)} faults,"
            f" {self.acknowledged} changes of {self.users} users acknowledged,"
            f" {self.observed} steps accepted"
            + (f", {self.left_out} users left out" if self.left_out else "")
        )
        lost = [f"  lost by the failover: {each}" for each in self.excused]
        if not self.failures:
            return "\n".join([f"{head}: ok", *lost])
        phases = ", ".join(f"{phase} after {at:.1f} s" for phase, at in self.marks.items())
        details = [str(self.schedule), phases, str(self.counts)]
        return "\n".join([f"{head}: FAILED", *details, *lost, *self.failures])


async def run(
    machines: Machines, schedule: Schedule, keys: tuple[str, str], folder: Path
) -> Result:
    """Run a schedule; problems are part of the result."""
    result = Result(schedule)
    try:
        async with staged(machines, schedule, keys, folder) as stage:
            result.mark("started")
            await _attack(stage, schedule, result)
    except Exception:  # a driver of many schedules goes on with the next one
        result.failures.append(traceback.format_exc())
    result.mark("ended")
    return result


async def _attack(stage: Stage, schedule: Schedule, result: Result) -> None:
    await tap.open_tap(stage.machines.broker)
    chaos, watched = Chaos(stage), Watch()
    auth_api, blog_api = (stage.processes[f"{name}-service api"] for name in ("auth", "blog"))
    watching = asyncio.create_task(watch(stage, watched))
    try:
        async with auth_api.client() as auth, blog_api.client() as blog:
            admin = await _administrator(stage, auth)
            async with traffic.running(traffic.Traffic(auth, blog, admin, schedule.seed)) as ledger:
                await chaos.carry_out(schedule)
                result.mark("attacked")
                await asyncio.sleep(LULL_SECONDS)
        result.mark("calmed")
        result.acknowledged, result.users = ledger.acknowledged, len(ledger.people)
        result.counts = dict(ledger.counts)
        restored = None
        if any(each.service == "auth" for each in chaos.done.failovers):
            restored = await judge.recover(stage)
            result.mark("restored")
        try:
            await eventually(
                lambda: judge.is_settled(stage), within=judge.SETTLED_SECONDS_MAX, every=0.2
            )
            result.mark("settled")
        except AssertionError as error:
            result.failures.append(f"not settled: {error}")
    finally:
        watching.cancel()
        with suppress(asyncio.CancelledError):
            await watching
    result.failures += [
        f"{user} differed for {seconds:.1f} s without a name"
        for user, seconds in watched.unnamed.items()
    ]
    record = await _recorded(stage, schedule, chaos.done, restored)
    result.failures += await judge.left_of_the_deleted(stage)
    broken, result.excused = await judge.broken_promises(stage, ledger, record.source)
    result.failures += [f"acknowledged, and not kept: {each}" for each in broken]
    result.failures += judge.in_the_logs(stage)
    _replay(record, schedule, result)
    result.mark("judged")


def _replay(record: Record, schedule: Schedule, result: Result) -> None:
    """Have the model accept what was observed of each user."""
    found, result.left_out = logs(record)
    for user, log in found.items():
        result.observed += len(log)
        refusal = accept(log, sees_sends=tap.is_whole(schedule))
        if refusal is not None:
            result.failures.append(f"the model refuses what happened to {user}:\n{refusal}")


async def _recorded(
    stage: Stage, schedule: Schedule, done: Done, restored: tuple[datetime, datetime] | None
) -> Record:
    """Read everything that was recorded, and add what failovers have lost."""
    urls = {name: each.direct_url for name, each in stage.machines.databases.items()}
    entries = {name: await history.history(url) for name, url in urls.items()}
    compared = await history.comparisons(urls["blog"])
    for failover in done.failovers:
        kept = {(entry.place, entry.at) for entry in entries[failover.service]}
        lost = [
            replace(entry, is_lost=True)
            for entry in failover.before
            if (entry.place, entry.at) not in kept
        ]
        both = [*entries[failover.service], *lost]
        entries[failover.service] = sorted(both, key=lambda entry: entry.at)
        compared += [each for each in failover.compared_before if each not in compared]
    publications = await tap.publications(stage.machines.broker) if tap.is_whole(schedule) else []
    return Record(entries["auth"], entries["blog"], compared, publications, done, restored)


async def _administrator(stage: Stage, auth: httpx.AsyncClient) -> dict[str, object]:
    code, printed = await stage.command(
        f"auth-service users create-admin {traffic.ADMIN}", typed=f"{PASSWORD}\n"
    )
    assert code == 0, printed
    body = {"email": traffic.ADMIN, "password": PASSWORD}
    answer = await auth.post("/v1/signin", json=body, timeout=SIGN_IN_SECONDS_MAX)
    answer.raise_for_status()
    signed_in: dict[str, object] = answer.json()
    return signed_in
