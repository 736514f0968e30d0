"""TLS to RabbitMQ is verified, a refusal names what to correct, and messages pass it in bulk."""

import asyncio
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from auth_service.outbox.publisher import publisher
from auth_service.settings import RelaySettings
from blog_service.settings import ConsumerSettings
from local.broker import Broker
from local.ports import LOOPBACK, free_port
from local.private_rabbitmq import PrivateRabbitMQ
from service_kit.broker.connection import BrokerTrouble, connect, connected
from service_kit.broker.seam import SeamConnection
from service_kit.process.broker_addresses import checked
from tests.support.builders import SOURCE, a_state
from tests.support.eventually import eventually
from tests.support.inbox import consuming
from tests.support.relaying import recorded, relaying
from tests.support.servers import folder_for_servers
from tests.support.settled import figure
from tests.support.tls import Authority

VHOST = "encrypted"


@dataclass(frozen=True)
class Encrypted:
    """A node that takes TLS at a port of its own, and demands a client's certificate there."""

    broker: Broker
    port: int
    authority: Authority
    stranger: Authority
    client: tuple[Path, Path]

    def url(self, parameters: str = "", host: str = LOOPBACK) -> str:
        return f"amqps://guest:guest@{host}:{self.port}/{VHOST}?{parameters}"

    @property
    def good(self) -> str:
        certificate, key = self.client
        return f"cafile={self.authority.file}&certfile={certificate}&keyfile={key}"


@pytest.fixture(scope="module")
def encrypted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Encrypted]:
    files = tmp_path_factory.mktemp("certificates")
    authority, port = Authority(files), free_port()
    certificate, key = authority.issue(LOOPBACK)
    with folder_for_servers() as folder:
        node = PrivateRabbitMQ(folder / "mq")
        (node.folder / "conf.d").mkdir(parents=True)
        (node.folder / "conf.d" / "tls.conf").write_text(
            f"listeners.ssl.local = {LOOPBACK}:{port}\n"
            f"ssl_options.cacertfile = {authority.file}\n"
            f"ssl_options.certfile = {certificate}\n"
            f"ssl_options.keyfile = {key}\n"
            "ssl_options.verify = verify_peer\n"
            "ssl_options.fail_if_no_peer_cert = true\n"
        )
        try:
            broker = node.start()
            broker.create_vhost(VHOST)
            client = authority.issue("client")
            yield Encrypted(broker, port, authority, Authority(files / "other"), client)
        finally:
            node.kill()
            node.stop()


async def test_messages_pass_tls_in_bulk(
    encrypted: Encrypted,
    relay_settings: RelaySettings,
    consumer_settings: ConsumerSettings,
    auth_engine: AsyncEngine,
    blog_engine: AsyncEngine,
) -> None:
    """Relay and consumer keep their fast path: the seam reads what TLS has decrypted."""
    url = checked(encrypted.url(encrypted.good))
    relay = relay_settings.model_copy(update={"amqp_url": url})
    consumer = consumer_settings.model_copy(update={"amqp_url": url})
    async with connected(url, name="a test", bulk=True) as connection:
        assert isinstance(connection, SeamConnection)
    async with publisher(url, source=SOURCE, timeout_seconds=5) as to:
        assert to._bulk is not None
    users = [a_state() for _ in range(1_200)]
    await recorded(auth_engine, *users)
    async with relaying(relay), consuming(consumer, blog_engine):
        await eventually(lambda: _count_is(consumer.database_url, len(users)))


async def test_each_fault_has_its_sentence(encrypted: Encrypted) -> None:
    """None of them says that the broker is away."""
    place = f"TLS with the broker at {LOOPBACK}:{encrypted.port} fails: "
    assert await refusal(encrypted.url(f"cafile={encrypted.stranger.file}")) == (
        f"{place}its certificate is not from an authority that we trust; name the authority's file"
        " (cafile=… in …_AMQP_URL)"
    )
    assert await refusal(encrypted.url()) == (
        f"{place}its certificate is not from an authority that we trust; name the authority's file"
        " (cafile=… in …_AMQP_URL)"
    )
    elsewhere = encrypted.url(encrypted.good, "localhost")
    assert "its certificate is not for the name localhost; write a name" in await refusal(elsewhere)
    plain = encrypted.broker.amqp_url(VHOST).replace("amqp:", "amqps:")
    assert "what listens there does not speak TLS" in await refusal(plain)
    assert "if it expects TLS, write amqps://" in await refusal(
        encrypted.url().replace("amqps:", "amqp:").rstrip("?")
    )


async def test_a_client_without_a_certificate_is_told_that_one_is_demanded(
    encrypted: Encrypted,
) -> None:
    given = f"cafile={encrypted.authority.file}"
    said = await refusal(encrypted.url(given))
    assert said.startswith(f"TLS with the broker at {LOOPBACK}:{encrypted.port} fails: it ")
    assert "demand" in said
    assert "a client's certificate (certfile=… and keyfile=… in …_AMQP_URL)" in said
    certificate, key = encrypted.stranger.issue("stranger")
    said = await refusal(encrypted.url(f"{given}&certfile={certificate}&keyfile={key}"))
    assert said.startswith(f"TLS with the broker at {LOOPBACK}:{encrypted.port} fails: it ")
    assert "certificate" in said


async def test_a_certificate_that_has_expired_is_refused(tmp_path: Path) -> None:
    """A server of the test's own: the handshake ends before it would have to speak AMQP."""
    authority = Authority(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*authority.issue(LOOPBACK, days=-1))
    server = await asyncio.start_server(lambda *_: None, LOOPBACK, 0, ssl=context)
    port = server.sockets[0].getsockname()[1]
    async with server:
        said = await refusal(f"amqps://{LOOPBACK}:{port}/?cafile={authority.file}")
    assert said == (
        f"TLS with the broker at {LOOPBACK}:{port} fails: its certificate has expired; renew it"
        " there"
    )


async def test_a_file_that_disappeared_since_the_start_is_named(
    encrypted: Encrypted, tmp_path: Path
) -> None:
    assert await refusal(encrypted.url(f"cafile={tmp_path / 'gone'}")) == (
        "…_AMQP_URL: cafile names a file that cannot be read (No such file or directory)"
    )


async def refusal(amqp_url: str) -> str:
    with pytest.raises(BrokerTrouble) as refused:
        await connect(amqp_url, name="a test")
    return str(refused.value)


async def _count_is(url: str, expected: int) -> bool:
    return await figure(url, "SELECT count(*) FROM users") == expected
