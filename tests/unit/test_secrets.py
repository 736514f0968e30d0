"""The keys derived from the secret."""

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from auth_service.secrets import Secrets, WrongSecret, secret_from_key
from auth_service.settings import KeySettings
from tests.support.refusals import refusal

OLD, NEW = b"o" * 32, b"n" * 32
DATABASE = "postgresql://localhost/auth"


def test_what_is_sealed_opens_again_for_its_purpose_and_context_alone() -> None:
    """Another purpose, another context or a flipped bit is refused; no nonce is used twice."""
    secrets = Secrets(NEW)
    sealed, again = [secrets.seal("signing-key", b"plain", context=b"kid") for _ in range(2)]

    assert sealed != again
    assert secrets.unseal("signing-key", sealed, context=b"kid") == b"plain"
    for purpose, hidden, context in (
        ("api-key", sealed, b"kid"),
        ("signing-key", sealed, b"another kid"),
        ("signing-key", sealed[:-1] + bytes([sealed[-1] ^ 1]), b"kid"),
        ("signing-key", b"", b"kid"),
    ):
        refusal(WrongSecret, secrets.unseal, purpose, hidden, context=context)


def test_what_the_previous_secret_sealed_or_hashed_stays_readable() -> None:
    """A secret can be changed without an outage; the previous one is for reading only."""
    before, changed, lost = Secrets(OLD), Secrets(NEW, OLD), Secrets(NEW)
    sealed, mac = before.seal("a", b"plain", context=b""), before.mac("a", b"message")

    assert changed.unseal("a", sealed, context=b"") == b"plain"
    assert changed.is_mac("a", b"message", mac)
    assert changed.mac("a", b"message") == lost.mac("a", b"message")
    assert not lost.is_mac("a", b"message", mac)
    refusal(WrongSecret, lost.unseal, "a", sealed, context=b"")


def test_macs_of_different_purposes_or_messages_differ() -> None:
    secrets = Secrets(NEW)
    mac = secrets.mac("a", b"message")
    assert not secrets.is_mac("b", b"message", mac)
    assert not secrets.is_mac("a", b"massage", mac)


def test_a_private_key_stands_in_for_the_secret(
    signing_key: RSAPrivateKey, private_pem: str
) -> None:
    """The article's configuration, a key pair alone, is enough."""
    settings = KeySettings(_env_file=None, database_url=DATABASE, private_key=private_pem)
    assert settings.secrets.mac("a", b"m") == Secrets(secret_from_key(signing_key)).mac("a", b"m")


def test_the_previous_private_key_is_taken_for_the_secret_that_it_stood_in_for(
    signing_key: RSAPrivateKey, private_pem: str
) -> None:
    """A changed key pair keeps API keys and sessions if the former one is set as well."""
    settings = KeySettings(
        _env_file=None, database_url=DATABASE, secret="s" * 32, previous_secret=private_pem
    )
    assert settings.secrets.is_mac("a", b"m", Secrets(secret_from_key(signing_key)).mac("a", b"m"))


def test_a_process_without_any_secret_does_not_start() -> None:
    """The error names both settings."""
    with pytest.raises(ValueError, match="set it, or set AUTH_SECRET"):
        KeySettings(_env_file=None, database_url=DATABASE)
