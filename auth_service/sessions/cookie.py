"""The cookie that holds a browser's refresh token, read and written byte for byte.

Guarantees: what counts is a cookie of exactly this name. The framework's parser strips whatever
Unicode takes for a blank, so that a cookie named U+00A0 and this name would pass for this one, and
win over it; browsers demand neither ``Secure`` nor this very host of such a name, and a neighbour
on another port or without TLS could set it.

Not here: what the token is worth (``refresh``).
"""

from typing import Final

from starlette.datastructures import Headers

COOKIE: Final = "__Host-refresh"
"""With this prefix browsers take it from this very host and over TLS alone (RFC 6265bis 4.1.3)."""

_BEGINNING: Final = f"{COOKIE}=".encode()

_BLANKS: Final = b" \t"
"""What may stand around a cookie in the header (RFC 6265bis 5.6: WSP), and in no browser's name."""


def sent_token(headers: Headers) -> str | None:
    """The refresh token that came in the cookie; None when there is none, or more than one.

    Of two, nobody can tell which one the browser got from here: both are refused, even if they are
    the same.
    """
    sent = _sent(headers)
    return sent[0].decode("latin-1") if len(sent) == 1 else None


def is_sent(headers: Headers) -> bool:
    """Whether the client keeps its refresh token in the cookie."""
    return bool(_sent(headers))


def set_cookie(token: str, *, seconds: int) -> str:
    """The ``Set-Cookie`` header that has a browser keep ``token`` for so long."""
    return f"{COOKIE}={token}; Max-Age={seconds}; Path=/; Secure; HttpOnly; SameSite=Strict"


def without_cookie() -> dict[str, str]:
    """The header that has a browser forget its refresh token."""
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
