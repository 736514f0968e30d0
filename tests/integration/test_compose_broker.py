"""What docker-compose.yml gives RabbitMQ to load makes the accounts that its processes use."""

import asyncio
import json
import re
from pathlib import Path
from urllib.parse import urlsplit

import aio_pika
import pytest
from aiormq.exceptions import ChannelAccessRefused

from contracts.events.accounts import accounts
from contracts.events.write_definitions import CONSUMERS, VHOST, generate_with_users, main
from local.private_rabbitmq import PrivateRabbitMQ
from tests.support.compose import FIRST_TRY, ROOT, SERVICES, password_of
from tests.support.servers import folder_for_servers

GUEST = {
    "vhosts": [{"name": "/"}],
    "users": [{"name": "guest", "password": "guest", "tags": "administrator"}],
    "permissions": [
        {"user": "guest", "vhost": "/", "configure": ".*", "write": ".*", "read": ".*"}
    ],
}


def test_its_users_are_those_of_the_contracts() -> None:
    """Names stand in the contracts; compose adds passwords, and an administrator for people."""
    found = json.loads(generate_with_users(FIRST_TRY))["users"]
    wanted = {account.name: account.tags for account in accounts(CONSUMERS)}
    assert {user["name"]: user["tags"] for user in found} == wanted | {"usersync": "administrator"}
    assert "first-try" not in json.dumps(found)


def test_another_service_gets_its_account_by_the_file_of_its_password(tmp_path: Path) -> None:
    """No code names the services that a deployment adds."""
    for file in FIRST_TRY.glob("rabbitmq-*"):
        (tmp_path / file.name).write_text(file.read_text())
    (tmp_path / "rabbitmq-newsletter-consumer").write_text("secret")

    found = json.loads(generate_with_users(tmp_path))

    assert "newsletter-consumer" in {user["name"] for user in found["users"]}
    rights = {given["user"]: given for given in found["permissions"]}
    assert re.fullmatch(rights["newsletter-consumer"]["configure"], "newsletter.users")
    assert re.fullmatch(rights["auth-relay"]["write"], "newsletter.users")


@pytest.mark.slow
async def test_a_broker_that_loads_it_accepts_the_processes_and_restricts_them() -> None:
    """It is loaded at every start, also by a broker that has data already."""
    with folder_for_servers() as folder:
        node = PrivateRabbitMQ(folder / "compose")
        loaded = node.folder / "definitions"
        (node.folder / "conf.d").mkdir(parents=True)
        loaded.mkdir()
        assert main(["--passwords", str(FIRST_TRY), "--to", str(loaded)]) == 0
        configuration = (ROOT / "deploy/rabbitmq/usersync.conf").read_text()
        written = configuration.replace("/definitions/definitions.json", "/definitions")
        assert written != configuration
        (node.folder / "conf.d/20-usersync.conf").write_text(
            written.replace("/etc/rabbitmq/definitions", str(loaded))
        )
        # A node that loads definitions makes no guest, who waits here until it is ready.
        (loaded / "00-guest.json").write_text(json.dumps(GUEST))
        try:
            await asyncio.to_thread(node.start)
            await asyncio.to_thread(node.restart)
            for process, variable in (
                ("auth-relay", "AUTH_AMQP_URL"),
                ("blog-consumer", "BLOG_AMQP_URL"),
            ):
                parts = urlsplit(SERVICES[process]["environment"][variable])
                assert parts.path == f"/{VHOST}"
                password = password_of(process, variable.replace("URL", "PASSWORD_FILE"))
                url = node.broker.account_url(VHOST, parts.username or "", password)
                async with await aio_pika.connect(url) as connection:
                    channel = await connection.channel()
                    with pytest.raises(ChannelAccessRefused):
                        await channel.declare_queue("spy", durable=True)
        finally:
            node.stop()
