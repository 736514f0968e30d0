"""The installed programs themselves; most tests fork their processes, and import libraries once."""

import asyncio
from dataclasses import replace
from pathlib import Path

from tests.support.processes import Process, run
from tests.support.system import COMMANDS, System, at_work

HELP = [
    *("auth-service", "auth-service keys", "auth-service outbox", "auth-service replay"),
    *("auth-service services", "auth-service settings", "auth-service users"),
    *("blog-service", "blog-service parked", "blog-service reconcile"),
    "blog-service settings",
]
STATUS = ("auth-service status", "blog-service status")


def test_each_group_of_commands_starts(tmp_path: Path) -> None:
    """With an empty environment, in any folder."""
    for command in HELP:
        shown = run(f"{command} --help", {}, tmp_path, installed=True)
        assert (shown.returncode, shown.stderr) == (0, ""), command
        assert command in shown.stdout


async def test_the_four_processes_start_report_and_end(system: System, tmp_path: Path) -> None:
    system = replace(system, installed=True)
    members = [system.process(command) for command in COMMANDS]
    async with at_work(*members):
        shown = [
            await asyncio.to_thread(run, command, system.environment, tmp_path, installed=True)
            for command in STATUS
        ]
        codes = await asyncio.gather(*(member.stop() for member in members))

    assert [each.returncode for each in shown] == [0, 0]
    assert codes == [0, 0, 0, 0]


async def test_a_killed_program_is_told_from_one_that_failed(tmp_path: Path) -> None:
    """As a fork reports it: the signal, or the exit code."""
    outcomes = []
    for installed in (True, False):
        process = Process("auth-service relay", {}, tmp_path / "relay.log", installed=installed)
        process.start()
        failed = await process.ended()
        process.start()
        process.kill()
        killed = await process.ended()
        outcomes.append((failed, killed))

    assert outcomes == [(2, -9)] * 2
