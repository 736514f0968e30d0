"""Read and write the cookie that holds a browser's refresh token, byte for byte.

Guarantees: only a cookie of exactly this name is accepted. The framework's parser strips every
Unicode blank. A cookie whose name is U+00A0 followed by this name would therefore replace this one.
For such a name browsers require neither ``Secure`` nor this host, so a neighbour on another port or
without TLS could set it.

Not here: judging the token (``refresh``).
"""

from typing import Final

from starlette.datastructures import Headers

COOKIE: Final = "__Host-refresh"
"""With this prefix browsers accept it only from this host and over TLS (RFC 6265bis 4.1.3)."""

_BEGINNING: Final = f"{COOKIE}=".encode()

_BLANKS: Final = b" \t"
"""What may surround a cookie in the header (RFC 6265bis 5.6: WSP), but is in no cookie's name."""


def sent_token(headers: Headers) -> str | None:
    """The refresh token in the request's cookie; None if there is none, or more than one.

    With two, nobody can tell which one this service set. Both are refused, even if equal.
    """
    sent = _sent(headers)
    return sent[0].decode("latin-1") if len(sent) == 1 else None


def is_sent(headers: Headers) -> bool:
    """Whether the request has the cookie."""
    return bool(_sent(headers))


def set_cookie(token: str, *, seconds: int) -> str:
    """The value of ``Set-Cookie`` that stores ``token`` for so many seconds."""
    return f"{COOKIE}={token}; Max-Age={seconds}; Path=/; Secure; HttpOnly; SameSite=Strict"


def deletion_header() -> dict[str, str]:
    """The header that deletes a browser's refresh token."""
    return {"Set-Cookie": set_cookie("", seconds=0)}


def _sent(headers: Headers) -> list[bytes]:
    """The values of all cookies of this name, of all ``Cookie`` headers (RFC 9113 8.2.3)."""
    cookies = [
        cookie.strip(_BLANKS)
        for name, value in headers.raw
        if name == b"cookie"
        for cookie in value.split(b";")
    ]
    return [cookie[len(_BEGINNING) :] for cookie in cookies if cookie.startswith(_BEGINNING)]
