"""What scripts rely on at the command line: results as JSON, and names that shells complete."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.main import get_command

import auth_service.cli
import blog_service.cli

PROGRAMS = {"auth-service": auth_service.cli.app, "blog-service": blog_service.cli.app}

WITHOUT_JSON = {
    "api, relay, consumer": "processes: they have a log",
    "export": "writes an archive, or JSON in any case",
    "check": "a list of sentences; its exit code is the result",
}
"""Commands without --json, each with the reason."""


def commands(name: str, command: object) -> Iterator[tuple[str, set[str]]]:
    """Yield each command with its options."""
    for each, found in getattr(command, "commands", {}).items():
        yield from commands(f"{name} {each}", found)
    if not hasattr(command, "commands"):
        yield name, {option for each in command.params for option in each.opts}  # type: ignore[attr-defined]


def test_every_command_with_a_result_prints_it_as_json() -> None:
    exempt = {name for names in WITHOUT_JSON for name in names.split(", ")}
    found = {
        name: options
        for program, app in PROGRAMS.items()
        for name, options in commands(program, get_command(app))
    }
    lacking = {name for name, options in found.items() if "--json" not in options}

    assert {name.split()[-1] for name in lacking} == exempt
    assert len(found) > 30


@pytest.mark.parametrize(
    ("program", "typed", "completed"),
    [
        ("auth-service", "auth-service serv", ["services"]),
        ("auth-service", "auth-service keys act", ["activate"]),
        ("blog-service", "blog-service parked red", ["redrive"]),
        ("blog-service", "blog-service reconcile --orph", ["--orphans"]),
    ],
)
def test_shells_complete_commands_and_options(
    program: str, typed: str, completed: list[str]
) -> None:
    """As bash asks for them, after ``--install-completion``."""
    words = typed.split(" ")
    asked = {
        f"_{program.upper().replace('-', '_')}_COMPLETE": "complete_bash",
        "COMP_WORDS": typed,
        "COMP_CWORD": str(len(words) - 1),
    }
    ended = subprocess.run(
        [str(Path(sys.executable).parent / program)],
        env={"PATH": os.environ["PATH"]} | asked,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ended.stdout.split() == completed, ended.stderr
