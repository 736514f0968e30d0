"""Hashes of other systems: those that their documents or their own tests give, and hostile ones."""

import asyncio
import hashlib
import subprocess
import sys
from base64 import b64encode
from collections.abc import Iterator
from hashlib import pbkdf2_hmac

import bcrypt
import pytest
from structlog.testing import capture_logs

from auth_service.imports.hashes import keycloak_hash, stored_hash
from auth_service.lenient_base64 import decode
from auth_service.users.foreign_hashes import MEMORY_MAX, UnusableHash, read_hash
from auth_service.users.passwords import HashingBusy, Passwords, unusable_hash
from tests.support.foreign_hashes import MADE_ELSEWHERE, OF_FIREBASE, SIGNER_KEY

SALT, HASH = "c2FsdHNhbHQ", "A" * 43

CHECKS = f"""
import asyncio
import re
from pathlib import Path
from auth_service.users.passwords import Passwords

def most_memory():
    return re.search("VmHWM:.*?([0-9]+)", Path("/proc/self/status").read_text())[1]

async def main():
    passwords = Passwords(threads=3, waiting_max=0)
    print(most_memory())
    large = "argon2$argon2id$v=19$m=131072,t=1,p=1${SALT}${HASH}"
    await asyncio.gather(*(passwords.matches("wrong", large) for _ in range(3)))
    print(most_memory())

asyncio.run(main())
"""


@pytest.fixture
def passwords() -> Iterator[Passwords]:
    """One thread, and one place to wait."""
    passwords = Passwords(threads=1, waiting_max=1, firebase_signer_key=decode(SIGNER_KEY))
    yield passwords
    passwords.close()


@pytest.mark.parametrize("system", MADE_ELSEWHERE)
async def test_a_password_matches_the_hash_of_another_system(
    passwords: Passwords, system: str
) -> None:
    password, exported = MADE_ELSEWHERE[system]
    stored = stored_hash(exported)
    assert await passwords.matches(password, stored)
    assert not await passwords.matches(f"{password}.", stored)
    assert passwords.needs_rehash(stored)


async def test_it_takes_a_place_like_any_other(passwords: Passwords) -> None:
    """The limits on hashing hold for imported hashes too."""
    _, exported = MADE_ELSEWHERE["Django"]
    stored = stored_hash(exported)
    results = await asyncio.gather(
        *(passwords.matches("wrong", stored) for _ in range(3)), return_exceptions=True
    )
    assert [type(result) for result in results] == [bool, bool, HashingBusy]


async def test_the_password_counts_as_it_was_typed(passwords: Passwords) -> None:
    """Other systems did not normalise it, and bcrypt drops what is beyond 72 bytes."""
    typed = "\uff22e\u0302te" * 20  # 9 bytes each
    stored = stored_hash(bcrypt.hashpw(typed.encode()[:72], bcrypt.gensalt(4)).decode())
    assert await passwords.matches(typed, stored)
    assert await passwords.matches(typed[:-1], stored)
    assert not await passwords.matches("Bête" * 20, stored)


async def test_those_that_take_much_memory_are_checked_one_at_a_time() -> None:
    """Three threads, and hardly more memory than one check takes."""
    ended = await asyncio.to_thread(
        subprocess.run, [sys.executable, "-c", CHECKS], capture_output=True, check=True, text=True
    )
    before, after = map(int, ended.stdout.split())
    assert 0 < (after - before) * 1024 < 1.5 * MEMORY_MAX


async def test_a_check_that_fails_is_no_match(
    passwords: Passwords, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If OpenSSL refuses anything else, the sign-in fails like any other, and a line says so."""

    def refuse(*_: object, **__: object) -> bytes:
        raise ValueError("secret")

    monkeypatch.setattr(hashlib, "scrypt", refuse)
    with capture_logs() as logs:
        assert not await passwords.matches("user1password", OF_FIREBASE)
    assert logs == [
        {"event": "password.hash_not_checked", "error": "ValueError", "log_level": "error"}
    ]


@pytest.mark.parametrize(
    "text",
    [
        f"$scrypt$ln=17,r=8,p=1${SALT}${HASH}",
        f"$scrypt$ln=15,r=1,p=1${SALT}${HASH}",
        f"$scrypt$ln=2,r=8,p=131072${SALT}${HASH}",
        f"$argon2id$v=19$m=131072,t=1,p=16${SALT}${HASH}",
        f"$argon2id$v=19$m=128,t=20,p=16${SALT}${HASH}",
    ],
)
def test_a_hash_that_is_accepted_can_be_checked(text: str) -> None:
    assert not read_hash(stored_hash(text)).matches(b"wrong", signer_key=None)


async def test_without_the_projects_key_no_password_of_firebase_matches() -> None:
    without = Passwords(threads=1, waiting_max=1)
    assert not await without.matches("user1password", OF_FIREBASE)
    without.close()


async def test_a_user_without_a_password_has_a_hash_that_looks_like_any_other(
    passwords: Passwords,
) -> None:
    """So the time of a wrong answer does not tell who has none."""
    one, usual = unusable_hash(), await passwords.hash("x")
    assert len(one) == len(usual)
    assert one.rsplit("$", 2)[0] == usual.rsplit("$", 2)[0]
    assert one != unusable_hash()
    assert not passwords.needs_rehash(one)
    assert not await passwords.matches("", one)


@pytest.mark.parametrize(
    "text",
    [
        "$2b$15$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW",
        "$2b$31$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW",
        f"$pbkdf2-sha256$i=2147483648${SALT}${HASH}",
        f"$pbkdf2-sha256$i=3000001${SALT}${HASH}",
        f"$pbkdf2-sha1$i=3000000${SALT}${HASH}",  # two blocks of SHA-1
        f"pbkdf2_sha256$2147483648$salt${HASH}=",
        f"$scrypt$ln=31,r=8,p=1${SALT}${HASH}",
        f"$scrypt$ln=18,r=8,p=1${SALT}${HASH}",
        f"$scrypt$ln=14,r=8,p=33${SALT}${HASH}",
        f"$scrypt$ln=14,r=99999999,p=1${SALT}${HASH}",
        f"$firebase-scrypt$ln=30,r=8${SALT}${HASH}",
        f"scrypt$1073741824$salt$8$1${HASH}=",
        f"$scrypt$ln=1,r=8,p=262144${SALT}${HASH}",  # 256 MiB for its lanes
        f"$argon2id$v=19$m=132097,t=1,p=1${SALT}${HASH}",
        f"$argon2id$v=19$m=131072,t=17,p=1${SALT}${HASH}",
        f"$argon2id$v=19$m=128,t=16384,p=16${SALT}${HASH}",  # a million threads
        f"$argon2id$v=19$m=128,t=21,p=1${SALT}${HASH}",
        f"$argon2id$v=19$m=65536,t=1,p=17${SALT}${HASH}",
    ],
)
def test_a_hash_that_takes_too_much_is_refused_before_anything_is_computed(text: str) -> None:
    with pytest.raises(UnusableHash, match="too much"):
        stored_hash(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "!unusable",
        "md5$salt$3f86d0d3d465b7b458c231bf3555c0e3",
        "88a434c88cca4e900f7874cd98123f43",
        "$2b$12$short",
        "$2b$00$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW",
        f"$pbkdf2-sha256$i=0${SALT}${HASH}",
        f"$pbkdf2-md5$i=1000${SALT}${HASH}",
        f"$pbkdf2-sha256$i=1000${SALT}$AAAA",  # three bytes can be guessed
        f"$pbkdf2-sha256$i=1000${SALT}$AAAAA",  # not base64
        f"$pbkdf2-sha256$i=1000${SALT}${'A' * 88}",  # longer than any
        f"$pbkdf2-sha256$i=1000${SALT}${HASH}\n",
        f"$scrypt$ln=0,r=8,p=1${SALT}${HASH}",
        f"$scrypt$ln=16,r=1,p=1${SALT}${HASH}",  # N must be less than 2^(16 r)
        f"scrypt$16383$salt$8$1${HASH}=",  # no power of two
        f"scrypt${'9' * 5_000}$salt$8$1${HASH}=",  # more digits than Python reads
        f"$argon2id$v=19$m=8,t=1,p=1$c2Vhc2FsdA${HASH}",  # a salt of seven bytes
        "$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHQ",
        "$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHQ$YWJj",
        f"$argon2id$v=19$m=127,t=1,p=16${SALT}${HASH}",  # not eight blocks a lane
        "$argon2id$v=19$m=x,t=1,p=1$c2FsdHNhbHQ$YC9+jJCrQhs5R6db7LlN8Q",
        "x" * 100_000,
    ],
)
def test_what_is_no_hash_is_refused(text: str) -> None:
    with pytest.raises(UnusableHash):
        stored_hash(text)


@pytest.mark.parametrize(
    ("credential", "secret"),
    [
        ({}, {}),
        ({"hashIterations": 1, "algorithm": "pbkdf2-sha256"}, {"salt": 1, "value": 2}),
        ({"hashIterations": 1, "algorithm": ["x"]}, {"salt": "", "value": ""}),
        (
            {"hashIterations": 1, "algorithm": "argon2", "additionalParameters": {"type": []}},
            {"salt": "c2FsdA==", "value": HASH},
        ),
    ],
)
def test_a_credential_with_a_missing_part_is_refused(
    credential: dict[str, object], secret: dict[str, object]
) -> None:
    with pytest.raises(UnusableHash):
        keycloak_hash(credential, secret)


def test_keycloak_has_hashes_of_any_length() -> None:
    """Earlier versions derive 64 bytes with SHA-256."""
    for algorithm, length in (("pbkdf2-sha256", 64), ("pbkdf2-sha512", 64), ("pbkdf2", 20)):
        digest = {"pbkdf2": "sha1"}.get(algorithm, algorithm.removeprefix("pbkdf2-"))
        made = pbkdf2_hmac(digest, b"secret", b"a salt of Java's", 27_500, length)
        stored = keycloak_hash(
            {"hashIterations": 27_500, "algorithm": algorithm, "additionalParameters": {}},
            {
                "value": b64encode(made).decode(),
                "salt": b64encode(b"a salt of Java's").decode(),
            },
        )
        assert read_hash(stored).matches(b"secret", signer_key=None)
        assert not read_hash(stored).matches(b"Secret", signer_key=None)
