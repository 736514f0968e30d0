"""Check passwords against hashes that other systems made, until their users sign in. Pure.

Such a hash is stored as one of these texts (``imports.hashes`` brings exports into this form):

    $2b$12$…                                bcrypt; also $2a$ and $2y$
    bcrypt_sha256$$2b$12$…                  Django: bcrypt of the SHA-256 in hexadecimal
    $pbkdf2-sha256$i=600000$SALT$HASH       PBKDF2; also with sha1 and sha512
    $scrypt$ln=14,r=8,p=5$SALT$HASH         scrypt
    $firebase-scrypt$ln=14,r=8$SALT$HASH    Firebase's; SALT ends with the project's separator
    argon2$argon2id$v=19$m=…,t=…,p=…$…      argon2, of a password that was not normalised

SALT and HASH are in base64 without padding. The hashes that this service makes begin with
``$argon2`` (``passwords``); ``read_argon2`` holds them to the same limits.

Guarantees: a hash is read before anything is computed, and refused if its check takes more than
about two seconds of a core, more than ``MEMORY_MAX``, or parameters that its algorithm does not
have: a hostile export cannot stop the service. The password is taken as it was typed, in UTF-8,
because the other systems hashed it so.
"""

import hashlib
import hmac
import re
from dataclasses import dataclass
from typing import Final, Protocol

import bcrypt
from argon2 import extract_parameters
from argon2.exceptions import InvalidHashError, VerificationError
from argon2.low_level import verify_secret
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES256
from cryptography.hazmat.primitives.ciphers.modes import CTR

from auth_service import lenient_base64

TEXT_LENGTH_MAX: Final = 1_024
"""No hash in an export is as long."""

BCRYPT_COST_MAX: Final = 14
"""One second. Exports have 10 to 12; each further one doubles the time."""

PBKDF2_ROUNDS_MAX: Final = 3_000_000
"""For all blocks of the result. With SHA-512, the slowest, a round takes 0.4 µs on a core that is
new, and twice as much on others. Django 6.0 has 1,200,000."""

MEMORY_MAX: Final = (128 + 1) * 1024 * 1024
"""In bytes. OWASP's scrypt (N = 2^17, r = 8) takes 128 MiB and some blocks more, Django's argon2
100 MiB, Keycloak's 7. The compose file's limit has room for one such check at a time."""

SCRYPT_WORK_MAX: Final = 2**22
"""N·r·p, about two seconds; Django's is 5·2^17."""

ARGON2_WORK_KIB_MAX: Final = 2 * 1024 * 1024
"""Memory times passes, about two seconds."""

ARGON2_PASSES_MAX: Final = 20
"""Django has 2, Keycloak 5. Each pass starts four threads for each lane, which takes longer than
the pass if there is little memory."""

ARGON2_LANES_MAX: Final = 16
"""Each is a thread. Django has 8."""

_ARGON2_KIB_A_LANE_MIN: Final = 8
"""RFC 9106; the library refuses less."""

_ARGON2_SALT_BYTES_MIN: Final = 8
"""Likewise."""

_HASH_BYTES_MIN: Final = 16
"""A shorter one could be guessed, and every password matches one of no bytes."""

_HASH_BYTES_MAX: Final = 64

_BCRYPT_BYTES_MAX: Final = 72
"""bcrypt uses no more of a password; other systems drop the rest without a word."""

_B64: Final = r"([A-Za-z0-9+/]+)"
_BCRYPT: Final = re.compile(r"(bcrypt_sha256\$)?(\$2[aby]\$([0-9]{2})\$[./A-Za-z0-9]{53})")
_PBKDF2: Final = re.compile(
    rf"\$pbkdf2-(sha1|sha256|sha512)\$i=([0-9]{{1,10}})(?:,l=[0-9]+)?\${_B64}\${_B64}"
)
_SCRYPT: Final = re.compile(
    rf"\$(firebase-)?scrypt\$ln=([0-9]{{1,2}}),r=([0-9]{{1,8}})(?:,p=([0-9]{{1,8}}))?\${_B64}\${_B64}"
)
_ARGON2: Final = re.compile(r"argon2(\$argon2(?:id|i|d)\$[\x21-\x7e]+)")


class UnusableHash(ValueError):
    """A password hash that is of no known kind, or whose check would take too much."""


class ForeignHash(Protocol):
    """A hash of another system, whose check is affordable."""

    @property
    def memory(self) -> int:
        """What a check takes, in bytes; 0 if it is next to nothing."""

    def matches(self, password: bytes, *, signer_key: bytes | None) -> bool:
        """Whether it is the hash of ``password``; ``signer_key`` is for Firebase's."""


def read_hash(text: str) -> ForeignHash:
    """Read a stored hash.

    Raises:
        UnusableHash: it is of no known kind, or its check would take too much.
    """
    if len(text) <= TEXT_LENGTH_MAX:
        if found := _BCRYPT.fullmatch(text):
            return _Bcrypt(found[2], _at_most(found[3], BCRYPT_COST_MAX, "cost"), bool(found[1]))
        if found := _PBKDF2.fullmatch(text):
            return _pbkdf2(*found.groups())
        if found := _SCRYPT.fullmatch(text):
            return _scrypt(*found.groups())
        if found := _ARGON2.fullmatch(text):
            return read_argon2(found[1])
    raise UnusableHash("the password hash is of no known kind")


def read_argon2(text: str) -> ForeignHash:
    """Read a hash in argon2's PHC form, which begins with ``$argon2``.

    Raises:
        UnusableHash: it is not a valid one, or its check would take too much.
    """
    try:
        needed = extract_parameters(text)
    except (InvalidHashError, ValueError):
        raise UnusableHash("the password hash is not a valid one of argon2") from None
    memory = _at_most(needed.memory_cost * 1024, MEMORY_MAX, "memory")
    _at_most(needed.time_cost, ARGON2_PASSES_MAX, "passes")
    _at_most(needed.memory_cost * needed.time_cost, ARGON2_WORK_KIB_MAX, "memory times passes")
    _at_most(needed.parallelism, ARGON2_LANES_MAX, "parallelism")
    if (
        needed.memory_cost < _ARGON2_KIB_A_LANE_MIN * needed.parallelism
        or needed.salt_len < _ARGON2_SALT_BYTES_MIN
    ):
        raise UnusableHash("the password hash is not a valid one of argon2")
    if needed.hash_len < _HASH_BYTES_MIN:
        raise UnusableHash("the password hash is too short")
    return _Argon2(text, memory)


@dataclass(frozen=True, slots=True)
class _Bcrypt:
    text: str
    cost: int
    is_of_sha256: bool
    memory: int = 0

    def matches(self, password: bytes, *, signer_key: bytes | None) -> bool:  # noqa: ARG002
        if self.is_of_sha256:
            password = hashlib.sha256(password).hexdigest().encode()
        try:
            return bcrypt.checkpw(password[:_BCRYPT_BYTES_MAX], self.text.encode())
        except ValueError:  # unused bits in the salt
            return False


@dataclass(frozen=True, slots=True)
class _Pbkdf2:
    digest: str
    rounds: int
    salt: bytes
    expected: bytes
    memory: int = 0

    def matches(self, password: bytes, *, signer_key: bytes | None) -> bool:  # noqa: ARG002
        made = hashlib.pbkdf2_hmac(
            self.digest, password, self.salt, self.rounds, len(self.expected)
        )
        return hmac.compare_digest(made, self.expected)


@dataclass(frozen=True, slots=True)
class _Scrypt:
    n: int
    r: int
    p: int
    salt: bytes
    expected: bytes
    is_of_firebase: bool

    @property
    def memory(self) -> int:
        """As OpenSSL counts it."""
        return 128 * self.r * (self.n + self.p + 2)

    def matches(self, password: bytes, *, signer_key: bytes | None) -> bool:
        length = _HASH_BYTES_MAX if self.is_of_firebase else len(self.expected)
        made = hashlib.scrypt(
            password,
            salt=self.salt,
            n=self.n,
            r=self.r,
            p=self.p,
            dklen=length,
            maxmem=MEMORY_MAX,
        )
        if self.is_of_firebase:
            if signer_key is None:
                return False
            # The hash is the project's key, encrypted with the first half of what scrypt makes.
            encryptor = Cipher(AES256(made[:32]), CTR(bytes(16))).encryptor()
            made = encryptor.update(signer_key) + encryptor.finalize()
        return hmac.compare_digest(made, self.expected)


@dataclass(frozen=True, slots=True)
class _Argon2:
    text: str
    memory: int

    def matches(self, password: bytes, *, signer_key: bytes | None) -> bool:  # noqa: ARG002
        try:
            kind = extract_parameters(self.text).type
            return verify_secret(self.text.encode(), password, kind)
        except VerificationError:
            return False


def _pbkdf2(digest: str, rounds: str, salt: str, expected: str) -> _Pbkdf2:
    hash_bytes = _decoded_hash(expected)
    blocks = -(-len(hash_bytes) // hashlib.new(digest).digest_size)
    most = PBKDF2_ROUNDS_MAX // blocks
    return _Pbkdf2(digest, _at_most(rounds, most, "rounds"), _decoded(salt), hash_bytes)


def _scrypt(
    firebase: str | None, ln: str, r: str, p: str | None, salt: str, expected: str
) -> _Scrypt:
    n = 2 ** int(ln)
    block = _at_most(r, MEMORY_MAX // (128 * n), "memory")
    lanes = _at_most(p or "1", SCRYPT_WORK_MAX // (n * block), "parallelism")
    if not 2 <= n < 2 ** (16 * block):  # RFC 7914; OpenSSL refuses others
        raise UnusableHash("the password hash is not a valid one of scrypt")
    made = _Scrypt(n, block, lanes, _decoded(salt), _decoded_hash(expected), bool(firebase))
    _at_most(made.memory, MEMORY_MAX, "memory")
    return made


def _at_most(number: str | int, most: int, what: str) -> int:
    """Return ``number`` unless it is none, or the check would take too much."""
    value = int(number)
    if value < 1:
        raise UnusableHash(f"the password hash has no {what}")
    if value > most:
        raise UnusableHash(f"the password hash would take too much to check: its {what}")
    return value


def _decoded_hash(text: str) -> bytes:
    decoded = _decoded(text)
    if not _HASH_BYTES_MIN <= len(decoded) <= _HASH_BYTES_MAX:
        raise UnusableHash(
            f"the password hash must have {_HASH_BYTES_MIN} to {_HASH_BYTES_MAX} bytes"
        )
    return decoded


def _decoded(text: str) -> bytes:
    try:
        return lenient_base64.decode(text)
    except ValueError:
        raise UnusableHash("the password hash has invalid base64") from None
