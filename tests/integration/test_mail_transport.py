"""Deliver a mail to a real SMTP server, or to a folder."""

import asyncio
import ssl
import stat
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from auth_service.mail.letters import Letter
from auth_service.mail.message import Message, build_message
from auth_service.mail.transport import (
    FILES_MAX,
    FolderTransport,
    NotDelivered,
    Refused,
    SmtpTransport,
)
from auth_service.mail_addresses import sender_address, smtp_server
from tests.support.eventually import eventually
from tests.support.mail_server import mail_server
from tests.support.tls import server_context

CREDENTIALS = "us%3Aer:p%40ss%2Fword"


def a_mail(recipient: str = "ada@example.org") -> Message:
    return build_message(
        Letter("Hello", "Hello, Ada\n"),
        sender=sender_address("Us <us@example.com>"),
        recipient=recipient,
        at=datetime.now(UTC),
    )


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


async def deliver(url: str, recipient: str = "ada@example.org") -> None:
    await SmtpTransport(smtp_server(url)).deliver(a_mail(recipient))


@pytest.fixture
def context(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ssl.SSLContext:
    """TLS of a server whose certificate a client trusts."""
    context, authority = server_context(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(authority))
    return context


async def test_server_gets_the_mail_and_its_envelope() -> None:
    async with mail_server() as server:
        await deliver(server.url)

    (received,) = server.received
    assert (received.sender, received.recipients) == ("us@example.com", ["ada@example.org"])
    assert received.text == "Hello, Ada\n"
    assert received.message["From"] == "Us <us@example.com>"
    assert received.message["To"] == "ada@example.org"
    assert received.message["Auto-Submitted"] == "auto-generated"


async def test_tls_is_started_when_the_server_offers_it(context: ssl.SSLContext) -> None:
    """Even without a password, a mail is encrypted if possible."""
    async with mail_server(starttls=context) as server:
        await deliver(server.url)
    assert server.received[0].was_encrypted


@pytest.mark.parametrize(("scheme", "kind"), [("smtp", "starttls"), ("smtps", "tls")])
async def test_credentials_go_over_tls(scheme: str, kind: str, context: ssl.SSLContext) -> None:
    """Both forms of TLS accept credentials that need percent-encoding."""
    async with mail_server(has_users=True, **{kind: context}) as server:  # type: ignore[arg-type]
        await deliver(f"{scheme}://{CREDENTIALS}@localhost:{server.port}")
    assert server.received[0].was_encrypted
    assert server.received[0].is_authenticated


@pytest.mark.parametrize("name", ["other.test", "localhost", None])
async def test_a_server_without_the_right_certificate_gets_nothing(
    name: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One for another name, one of an unknown authority, and none: STARTTLS may be hidden."""
    context = None
    if name:
        context, authority = server_context(tmp_path, name)
        if name != "localhost":
            monkeypatch.setenv("SSL_CERT_FILE", str(authority))

    async with mail_server(starttls=context, has_users=True) as server:
        with pytest.raises(NotDelivered):
            await deliver(f"smtp://{CREDENTIALS}@localhost:{server.port}")

    assert (server.passwords, server.received) == ([], [])


async def test_a_wrong_password_is_a_temporary_failure(context: ssl.SSLContext) -> None:
    async with mail_server(starttls=context, has_users=True) as server:
        with pytest.raises(NotDelivered):
            await deliver(f"smtp://us%3Aer:wrong@localhost:{server.port}")


@pytest.mark.parametrize(
    ("answer", "error"),
    [("550 5.1.1 no ada@example.org here", Refused), ("450 4.2.1 later", NotDelivered)],
)
async def test_refusals_are_permanent_or_temporary(answer: str, error: type[Exception]) -> None:
    """5xx is permanent, 4xx temporary; the server's text, which has the address, is dropped."""
    async with mail_server() as server:
        server.refusal = answer
        with pytest.raises(error) as caught:
            await deliver(server.url)
    assert "ada" not in str(caught.value)
    assert answer[:3] in str(caught.value)


async def test_an_unavailable_server_is_a_temporary_failure(unused_port: int) -> None:
    with pytest.raises(NotDelivered):
        await deliver(f"smtp://localhost:{unused_port}")


async def test_a_non_ascii_address_needs_smtputf8() -> None:
    """It is sent if the server supports it, and refused permanently otherwise.

    Any server accepts the ASCII form of a domain.
    """
    letters = "müller@example.org"

    async with mail_server() as server:
        await deliver(server.url, letters)
    async with mail_server(has_utf8=False) as old_server:
        with pytest.raises(Refused):
            await deliver(old_server.url, letters)
        await deliver(old_server.url, "ada@bücher.example")

    assert server.received[0].recipients == [letters]
    assert server.received[0].message["To"] == letters
    assert old_server.received[0].recipients == ["ada@xn--bcher-kva.example"]


async def test_sending_to_a_silent_server_can_be_cancelled_at_once() -> None:
    async with mail_server() as server:
        server.fall_silent()
        sending = asyncio.create_task(deliver(server.url))
        await eventually(lambda: server.asked)

        began = time.monotonic()
        sending.cancel()
        await asyncio.wait([sending])

        assert time.monotonic() - began < 1


async def test_folder_holds_whole_mails_for_their_owner_alone(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "mails"

    await asyncio.gather(*(FolderTransport(folder).deliver(a_mail()) for _ in range(10)))

    files = list(folder.iterdir())
    assert len(files) == 10
    assert {path.suffix for path in files} == {".eml"}
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert all(path.read_bytes().endswith(b"Hello, Ada\r\n") for path in files)


async def test_the_folder_is_bounded_and_other_files_stay(tmp_path: Path) -> None:
    ours = [tmp_path / f"20200101T{n:012}Z-00000000.eml" for n in range(FILES_MAX)]
    for path in [*ours, tmp_path / "notes.eml", tmp_path / "0.txt"]:
        path.touch()

    await FolderTransport(tmp_path).deliver(a_mail())

    kept = names(tmp_path)
    assert len(kept) == FILES_MAX + 2
    assert kept >= {ours[1].name, "notes.eml", "0.txt"}
    assert ours[0].name not in kept


async def test_an_unwritable_folder_is_a_temporary_failure(tmp_path: Path) -> None:
    (tmp_path / "mails").touch()
    with pytest.raises(NotDelivered):
        await FolderTransport(tmp_path / "mails").deliver(a_mail())
