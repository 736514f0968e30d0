"""Bring password hashes of exports into the form in which they are stored and checked. Pure."""

from typing import Any, Final

from auth_service import lenient_base64
from auth_service.users.foreign_hashes import TEXT_LENGTH_MAX, UnusableHash, read_hash

_ARGON2_VERSIONS: Final = {"1.0": 16, "1.3": 19}
"""As Keycloak names them, and as the hash has them."""

_PBKDF2_OF_KEYCLOAK: Final = {
    "pbkdf2": "sha1",
    "pbkdf2-sha256": "sha256",
    "pbkdf2-sha512": "sha512",
}


def stored_hash(text: str) -> str:
    """The form in which a hash is stored that is one text in its export.

    Known are bcrypt, the PHC forms of argon2, PBKDF2 and scrypt, and what Django stores.

    Raises:
        UnusableHash: it is of no known kind, or its check would take too much.
    """
    if len(text) > TEXT_LENGTH_MAX:  # before its numbers are read: Python refuses very long ones
        raise UnusableHash("the password hash is longer than any")
    stored = _renamed(text)
    read_hash(stored)
    return stored


def firebase_hash(password_hash: str, salt: str, *, separator: str, rounds: int, cost: int) -> str:
    """The same for Firebase's scrypt.

    Parameters:
        password_hash, salt: of the user, in base64.
        separator, rounds, cost: of the project, as its console shows them.

    Raises:
        UnusableHash: as ``stored_hash``.
    """
    try:
        salted = lenient_base64.decode(salt) + lenient_base64.decode(separator)
        digest = lenient_base64.decode(password_hash)
    except ValueError:
        raise UnusableHash("the password hash has invalid base64") from None
    return stored_hash(
        f"$firebase-scrypt$ln={cost},r={rounds}"
        f"${lenient_base64.encode(salted)}${lenient_base64.encode(digest)}"
    )


def keycloak_hash(credential: dict[str, Any], secret: dict[str, Any]) -> str:
    """The same for a password of Keycloak: its ``credentialData`` and ``secretData``.

    Raises:
        UnusableHash: as ``stored_hash``, or a part is missing.
    """
    try:
        salt, digest = (secret[name].rstrip("=") for name in ("salt", "value"))
        rounds, algorithm = credential["hashIterations"], credential["algorithm"]
        if algorithm == "argon2":
            given = {name: each[0] for name, each in credential["additionalParameters"].items()}
            made = (
                f"argon2$argon2{given['type']}$v={_ARGON2_VERSIONS[given['version']]}"
                f"$m={given['memory']},t={rounds},p={given['parallelism']}"
            )
        else:
            made = f"$pbkdf2-{_PBKDF2_OF_KEYCLOAK[algorithm]}$i={rounds}"
    except (KeyError, IndexError, TypeError, AttributeError):
        raise UnusableHash("the password hash is of no known kind") from None
    return stored_hash(f"{made}${salt}${digest}")


def _renamed(text: str) -> str:
    if text.startswith("$argon2"):
        return f"argon2{text}"
    kind, *parts = text.split("$")
    match kind, parts:
        case "bcrypt", ["", *_]:
            return text.removeprefix("bcrypt$")
        case "pbkdf2_sha256" | "pbkdf2_sha1", [rounds, salt, digest]:
            return _phc(f"pbkdf2-{kind.removeprefix('pbkdf2_')}$i={rounds}", salt, digest)
        case "scrypt", [n, salt, r, p, digest] if n.isdecimal() and int(n).bit_count() == 1:
            return _phc(f"scrypt$ln={int(n).bit_length() - 1},r={r},p={p}", salt, digest)
    return text


def _phc(beginning: str, salt: str, digest: str) -> str:
    """The salts of Django are text, of which the bytes count."""
    return f"${beginning}${lenient_base64.encode(salt.encode())}${digest.rstrip('=')}"
