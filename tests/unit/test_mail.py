"""The form of mails, and which of their settings stop the start."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auth_service.mail.letters import Letter, Purpose, compose_letter, duration_text
from auth_service.mail.message import BadRecipient, Message, build_message
from auth_service.mail_addresses import SmtpServer, sender_address, smtp_server
from auth_service.settings import ApiSettings
from tests.support.environment import Environment
from tests.support.refusals import refusal

SENDER = "Us <us@example.com>"
NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def mail_to(recipient: str, sender: str = SENDER, text: str = "Hello\n") -> Message:
    return build_message(
        Letter("Hello", text), sender=sender_address(sender), recipient=recipient, at=NOW
    )


def headers(mail: Message) -> list[bytes]:
    return mail.content.partition(b"\r\n\r\n")[0].split(b"\r\n")


def test_address_that_is_more_than_an_address_gets_no_mail() -> None:
    """An address that passed other checks adds neither a recipient nor a header."""
    for recipient in (
        "ada@example.org\r\nBcc: eve@example.org",
        "ada@example.org\nBcc: eve@example.org",
        "ada@example.org\r\n\r\nHello from Eve",
        "ada@example.org, eve@example.org",
        "ada@example.org; eve@example.org",
        "friends: ada@example.org, eve@example.org;",
        "ada@example.org> <eve@example.org",
        *("Ada <ada@example.org>", "ada@example.org (the countess)", "ada@example.org\x00"),
        *("ada", ""),
        # The standard library's parser fails on these in ways that it does not announce.
        *(": @a;@example.org", '">".:(;@example.org', " .;>>[ é@example.org", "\\é@["),
    ):
        refusal(BadRecipient, mail_to, recipient)


@given(st.text(max_size=60), st.sampled_from(["", "@example.org", "ada@example.org"]))
def test_no_address_adds_a_line(text: str, end: str) -> None:
    """For any text: one recipient and the usual headers, or no mail."""
    usual = [line.partition(b":")[0] for line in headers(mail_to("ada@example.org"))]
    try:
        mail = mail_to(text + end)
    except BadRecipient:
        return

    assert [line.partition(b":")[0] for line in headers(mail)] == usual
    assert mail.content.count(b"\r\nTo: " + mail.recipient.encode() + b"\r\n") == 1


def test_long_address_stays_in_one_piece() -> None:
    """A header folded within an address would name another one."""
    long = f"{'a' * 64}@{'b' * 60}.{'c' * 60}.{'d' * 60}.example.org"
    assert f"To: {long}".encode() in headers(mail_to(long))


def test_the_link_is_not_encoded() -> None:
    """No transfer encoding splits it, so that it can be read and clicked in any program."""
    link = f"https://auth.example/link#verify_email={'x' * 43}"
    made = compose_letter(
        Purpose.VERIFY_EMAIL, site="https://auth.example", link=link, seconds=86_400
    )

    mail = mail_to("ada@example.org", text=made.text)

    assert f"\r\n{link}\r\n".encode() in mail.content
    assert b"after 24 hours" in mail.content


def test_non_ascii_text_is_complete() -> None:
    """A site may have a non-ASCII name."""
    mail = mail_to("ada@example.org", text="https://bücher.example/link\n")
    assert mail.content.isascii()
    assert b"https://b=C3=BCcher.example/link" in mail.content


def test_times_are_whole_numbers() -> None:
    for seconds, words in (
        *((86_400, "24 hours"), (172_800, "2 days"), (3600, "60 minutes"), (1800, "30 minutes")),
        *((90, "90 seconds"), (60, "60 seconds")),
    ):
        assert duration_text(seconds) == words, seconds


def test_address_of_a_mail_server() -> None:
    for url, server in (
        ("smtp://mail.example", SmtpServer("mail.example", 587, is_tls=False)),
        ("smtp://mail.example:25/", SmtpServer("mail.example", 25, is_tls=False)),
        ("smtps://[::1]", SmtpServer("::1", 465, is_tls=True)),
        (
            "smtps://me%40x.org:p%3A%2F%23%25@mail.example",
            SmtpServer("mail.example", 465, is_tls=True, username="me@x.org", password="p:/#%"),
        ),
    ):
        assert smtp_server(url) == server, url
        assert server.password is None or server.password not in repr(server), url


NO_SERVERS = """
    http://hunter2@mail.example mail.example:hunter2 smtp:// smtp://user:hunter2@
    smtp://user@mail.example smtp://:hunter2@mail.example smtp://user:hunter2/x@mail.example
    smtp://user:hunter2#x@mail.example smtp://user:hunter2@x@mail.example
    smtp://user:hunter2@mail.example:0 smtp://user:hunter2@mail.example:70000
    smtp://user:hunter2@[mail.example smtp://user:hunter2%ff@mail.example
"""


def test_bad_settings_stop_the_start(complete: Environment) -> None:
    """The error names the variable, and does not repeat a possible password."""
    for name, values in (
        ("AUTH_SMTP_URL", (*NO_SERVERS.split(), "smtp://user:hunter2 @mail.example")),
        ("AUTH_MAIL_FROM", ("", "hunter2", "a@example.org, hunter2@example.org")),
        ("AUTH_MAIL_FROM", ("a@example.org\nBcc: hunter2@example.org",)),
        ("AUTH_LINK_URL", ("auth.example/hunter2", "https://auth.example/#hunter2")),
        ("AUTH_LINK_URL", ("https://auth.example/ hunter2",)),
    ):
        for value in values:
            [line] = complete.refusal(ApiSettings, **{name: value}).splitlines()
            assert line.startswith(f"{name}: must be "), value
            assert "hunter2" not in line, value


def test_a_server_and_a_folder_at_once_are_refused(complete: Environment) -> None:
    message = complete.refusal(
        ApiSettings, AUTH_SMTP_URL="smtp://mail.example", AUTH_MAIL_FOLDER="/mails"
    )
    assert "AUTH_SMTP_URL or AUTH_MAIL_FOLDER, not both" in message


@pytest.fixture
def complete(private_pem: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Environment:
    """An environment with all settings but those of mails."""
    return Environment(
        monkeypatch,
        tmp_path,
        AUTH_DATABASE_URL="postgresql://db.example/auth",
        AUTH_ISSUER="https://auth.example",
        AUTH_PRIVATE_KEY=private_pem,
    )
