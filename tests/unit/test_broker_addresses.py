"""A setting has one or more addresses of a broker, separated by blanks."""

import ssl
from pathlib import Path

import pytest

from service_kit.process.broker_addresses import checked, split_addresses, tls_context
from tests.support.tls import self_signed

ONE = "amqp://u:hunter2@a/v"
TWO = "amqps://u:hunter2@b:5671/v?heartbeat=5"


@pytest.mark.parametrize(
    ("given", "found"),
    [
        (ONE, (ONE,)),
        (f"{ONE} {TWO}", (ONE, TWO)),
        (f"{ONE}   {TWO} {ONE}", (ONE, TWO, ONE)),
        ("amqp://u:p,w@a/v,x", ("amqp://u:p,w@a/v,x",)),
        ("amqp://", ("amqp://",)),
    ],
)
def test_addresses_are_separated_by_blanks(given: str, found: tuple[str, ...]) -> None:
    assert split_addresses(checked(given)) == found


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("", "must be the address of a RabbitMQ virtual host"),
        ("amqp://u:hunter2@a,b/v", "must name one host: separate addresses by blanks"),
        ("amqp://u:hunter2@a:5672,b:5672/v", "must name one host: separate addresses by blanks"),
        (f"{ONE},{TWO}", "must name one host: separate addresses by blanks"),
        (f"{ONE} http://hunter2", "address 2 of 2 must be the address of a RabbitMQ virtual host"),
        (f"amqp://u:hunter2@a:port/v {ONE}", "address 1 of 2 must be the address of a RabbitMQ"),
        ("amqp://u:my hunter2@a/v", "address 1 of 2 must be .* is written %20"),
    ],
)
def test_what_is_no_address_is_refused_by_its_number(given: str, said: str) -> None:
    """The message never repeats an address, which has a password."""
    with pytest.raises(ValueError, match=said) as refused:
        checked(given)
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("amqps://a/?cafile=/no/such", "cafile names a file that cannot be read"),
        ("amqps://a/?cafile={key}", "cafile names a file without a certificate"),
        ("amqps://a/?keyfile={key}", "keyfile needs certfile"),
        ("amqps://a/?certfile={ca}", "certfile needs keyfile"),
        ("amqps://a/?certfile={ca}&keyfile={other}", "keyfile is not the key of certfile"),
        ("amqp://a/?cafile={ca}", "has the parameter 'cafile', which needs amqps://"),
        ("amqps://a/?cacertfile={ca}", "has the parameter 'cacertfile', which is not supported"),
        ("amqps://a/ amqps://b/?keyfile={key}", "address 2 of 2 keyfile needs certfile"),
    ],
)
def test_what_is_wrong_with_tls_is_said(tmp_path: Path, given: str, said: str) -> None:
    ca, key = self_signed(tmp_path, ["a.example"])
    _, other = self_signed(tmp_path, ["b.example"])
    with pytest.raises(ValueError, match=said):
        checked(given.format(ca=ca, key=key, other=other))


def test_a_certificate_is_verified_unless_the_address_says_otherwise(tmp_path: Path) -> None:
    ca, _ = self_signed(tmp_path, ["a.example"])
    usual, off = tls_context(f"amqps://a/?cafile={ca}"), tls_context("amqps://a/?no_verify_ssl=1")
    assert usual is not None
    assert off is not None
    assert (usual.verify_mode, usual.check_hostname) == (ssl.CERT_REQUIRED, True)
    assert (off.verify_mode, off.check_hostname) == (ssl.CERT_NONE, False)
    assert tls_context("amqp://a/") is None
