"""Commands start at once: help imports nothing that only a running command needs."""

import json

import pytest

from tests.support.programs import python

# Typer itself reads options with pydantic, so only what settings add to it is listed.
HEAVY = frozenset(
    {
        *("aio_pika", "alembic", "argon2", "asyncpg", "cryptography", "fastapi", "httpx"),
        *("prometheus_client", "pydantic_settings", "sqlalchemy", "starlette", "structlog"),
        *("uvicorn", "uvloop"),
    }
)

MODULES_MAX = 600
"""Python, Typer, Rich and pydantic have 440; the count catches a heavy module not listed above."""

SHOW_ALL_HELP = """
import importlib, json, os, sys
os.environ["COLUMNS"] = "200"
from typer.main import get_command
from typer.testing import CliRunner
app = importlib.import_module(sys.argv[1]).app
shown = []
def show(command, path):
    result = CliRunner().invoke(app, [*path, "--help"])
    assert result.exit_code == 0, result.output
    shown.append(" ".join(path))
    is_group = hasattr(command, "commands")
    assert is_group or shown[-1] in result.output.partition("Example:")[2], shown[-1]
    for name, inner in getattr(command, "commands", {}).items():
        show(inner, [*path, name])
show(get_command(app), [])
json.dump({"shown": shown, "modules": sorted(sys.modules)}, sys.stdout)
"""


@pytest.mark.parametrize(
    ("cli", "commands"),
    [
        ("auth_service.cli", {"", "api", "relay", "status", "restored", "keys generate"}),
        ("blog_service.cli", {"", "api", "consumer", "status", "reconcile", "parked redrive"}),
    ],
)
def test_the_help_of_every_command_shows_an_example_and_imports_little(
    cli: str, commands: set[str]
) -> None:
    """Neither a database driver nor a broker's client, no server, no models."""
    ended = python("-c", SHOW_ALL_HELP, cli)
    assert ended.returncode == 0, ended.stderr
    found = json.loads(ended.stdout)

    assert commands <= set(found["shown"])
    assert sorted(HEAVY & set(found["modules"])) == []
    assert len(found["modules"]) < MODULES_MAX
