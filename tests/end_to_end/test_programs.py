"""The installed programs themselves; most tests fork their processes, and import libraries once."""

import asyncio
from dataclasses import replace
from pathlib import Path

from service_kit.process.version import VERSION
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


def test_version_and_the_short_option_for_help(tmp_path: Path) -> None:
    """``-h`` works for groups and commands too."""
    for program in ("auth-service", "blog-service"):
        shown = run(f"{program} --version", {}, tmp_path, installed=True)
        assert (shown.returncode, shown.stdout) == (0, f"usersync {VERSION}\n"), shown.stderr
    for command in ("auth-service", "auth-service users erase", "blog-service parked list"):
        short, full = [
            run(f"{command} {option}", {}, tmp_path, installed=True) for option in ("-h", "--help")
        ]
        assert (short.returncode, short.stdout) == (0, full.stdout), short.stderr
        assert "Usage:" in short.stdout


def test_shells_complete_commands_and_options(tmp_path: Path) -> None:
    """Without settings: the shell asks while an operator types."""
    for typed, offered in (
        ("auth-service us", {"users"}),
        ("auth-service users cr", {"create-admin"}),
        ("auth-service users create-admin --e", {"--existing"}),
        ("blog-service parked ", {"list", "show", "redrive", "discard"}),
    ):
        program, *words = typed.split(" ")
        asked = {
            f"_{program.upper().replace('-', '_')}_COMPLETE": "complete_bash",
            "COMP_WORDS": typed,
            "COMP_CWORD": str(len(words)),
        }
        completed = run(program, asked, tmp_path, installed=True)
        assert set(completed.stdout.split()) == offered, completed.stderr
    shown = run("blog-service --help", {}, tmp_path, installed=True).stdout
    assert "--install-completion" in shown


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
