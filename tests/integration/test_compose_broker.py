"""What docker-compose.yml gives RabbitMQ to load makes the accounts that its processes use."""

import asyncio
import json
import re
from pathlib import Path
from urllib.parse import urlsplit

import aio_pika
import pytest
import yaml  # type: ignore[import-untyped]
from aiormq.exceptions import ChannelAccessRefused

from contracts.events.accounts import accounts
from contracts.events.write_definitions import CONSUMERS, VHOST
from local.private_rabbitmq import PrivateRabbitMQ
from tests.support.servers import folder_for_servers

ROOT = Path(__file__).parents[2]
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
GUEST = {
    "vhosts": [{"name": "/"}],
    "users": [{"name": "guest", "password": "guest", "tags": "administrator"}],
    "permissions": [
        {"user": "guest", "vhost": "/", "configure": ".*", "write": ".*", "read": ".*"}
    ],
}


def content(name: str) -> str:
    """Return a config of the compose file, with the default of each variable."""
    config: dict[str, str] = COMPOSE["configs"][name]
    if "file" in config:
        return (ROOT / config["file"]).read_text()
    return with_defaults(config["content"])


def with_defaults(text: str) -> str:
    return re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", text)


def test_its_users_are_those_of_the_contracts() -> None:
    """Names stand in the contracts; compose adds passwords, and an administrator for people."""
    found = json.loads(content("broker-users"))["users"]
    wanted = {account.name: account.tags for account in accounts(CONSUMERS)}
    assert {user["name"]: user["tags"] for user in found} == wanted | {"usersync": "administrator"}


@pytest.mark.slow
async def test_a_broker_that_loads_it_accepts_the_processes_and_restricts_them() -> None:
    """It is loaded at every start, also by a broker that has data already."""
    with folder_for_servers() as folder:
        node = PrivateRabbitMQ(folder / "compose")
        mounts = {
            mount["source"]: Path(mount["target"])
            for mount in COMPOSE["services"]["rabbitmq"]["configs"]
        }
        loaded = node.folder / "definitions"
        (node.folder / "conf.d").mkdir(parents=True)
        loaded.mkdir()
        for name in ("broker-users", "broker-rights"):
            (loaded / mounts[name].name).write_text(content(name))
        configuration = content("rabbitmq.conf").replace("/etc/rabbitmq/definitions", str(loaded))
        (node.folder / "conf.d" / mounts["rabbitmq.conf"].name).write_text(configuration)
        # A node that loads definitions makes no guest, who waits here until it is ready.
        (loaded / "00-guest.json").write_text(json.dumps(GUEST))
        try:
            await asyncio.to_thread(node.start)
            await asyncio.to_thread(node.restart)
            for process, variable in (
                ("auth-relay", "AUTH_AMQP_URL"),
                ("blog-consumer", "BLOG_AMQP_URL"),
            ):
                given = COMPOSE["services"][process]["environment"][variable]
                parts = urlsplit(with_defaults(given))
                assert parts.path == f"/{VHOST}"
                url = node.broker.account_url(VHOST, parts.username or "", parts.password or "")
                async with await aio_pika.connect(url) as connection:
                    channel = await connection.channel()
                    with pytest.raises(ChannelAccessRefused):
                        await channel.declare_queue("spy", durable=True)
        finally:
            node.stop()
