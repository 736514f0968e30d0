"""Check a request's head beyond what the parser checks.

Pure functions. The parser (llhttp) is strict about the grammar of fields, lengths and chunks. It is
lenient about the rest, which is checked here: other protocols on the request line, ``Host``,
unknown transfer codings. An offer to change the protocol is removed: the parser would stop at it
and parse the body as another request (RFC 9110 7.8: an offer may be ignored).

Guarantees: an accepted head ends at the first ``HEAD_END``, and the length of its body is
unambiguous.
"""

import re
from collections.abc import Sequence
from typing import Final

from service_kit.http import problems
from service_kit.http.problems import Code

HEAD_END: Final = b"\r\n\r\n"

HEAD_BYTES_MAX: Final = 16 * 1024
"""Of a request line and its headers; the longest token that is read has 8 KiB."""

ADDRESS_BYTES_MAX: Final = 8 * 1024
"""Of the request line's address: what RFC 9110 4.1 asks servers to take. 16 KiB of parameters
would cost 15 ms to parse."""

FIELDS_MAX: Final = 100
"""Headers in one request; browsers behind proxies send thirty. Each costs the parser a call."""

_LINE = re.compile(rb"[A-Z-]+ ([^\s#]+) HTTP/1\.[01]")
_LINE_BEGUN = re.compile(rb"[A-Z-]+(?: .*)?")
_OFFER = re.compile(rb"\r\nUpgrade:[^\r\n]*", re.IGNORECASE)
_ORIGIN = re.compile(rb"https?://[^/?#]*", re.IGNORECASE)
_HOST = re.compile(rb"(?:[A-Za-z0-9._~!$&'()*+,;=%-]*|\[[0-9A-Fa-f:.]+\])(?::[0-9]*)?")


class BadHead(Exception):
    """The head contradicts itself, or HTTP."""


def refusal(begun: bytes) -> Code | None:
    """Return why a head, or the part of it that has arrived, is refused; None if it is not."""
    if len(begun) > HEAD_BYTES_MAX:
        return problems.HEADERS_TOO_LARGE
    if begun.count(b"\n") != begun.count(b"\r\n"):
        return problems.MALFORMED_REQUEST
    line, ended, _ = begun.partition(b"\r\n")
    if not ended:
        is_possible = not line or _LINE_BEGUN.fullmatch(line)
        return None if is_possible else problems.MALFORMED_REQUEST
    parts = _LINE.fullmatch(line)
    if parts is None:
        return problems.MALFORMED_REQUEST
    fields = begun.count(b"\r\n") - 1 - begun.endswith(HEAD_END)
    if len(parts[1]) > ADDRESS_BYTES_MAX or fields > FIELDS_MAX:
        return problems.HEADERS_TOO_LARGE
    return None


def without_offers(head: bytes) -> bytes:
    """A whole head without its offers to change the protocol."""
    return _OFFER.sub(b"", head)


def path_and_query(address: bytes) -> bytes:
    """The origin form (RFC 9112 3.2.1) of an address that may name scheme and host (3.2.2)."""
    rest = _ORIGIN.sub(b"", address, count=1) if _ORIGIN.match(address) else address
    return rest if rest.startswith((b"/", b"*")) else b"/" + rest


def body_length(version: str, fields: Sequence[tuple[bytes, bytes]]) -> int | None:
    """How many bytes follow the head; None if they come in chunks.

    Parameters:
        version: ``1.0`` or ``1.1``.
        fields: names in lower case and values, which the parser has accepted.

    Raises:
        BadHead: there is not exactly one valid ``Host`` (RFC 9112 3.2; HTTP/1.0 may have none), or
            the body is coded by anything but chunks, or by those in HTTP/1.0 (6.1).
    """
    hosts = [value for name, value in fields if name == b"host"]
    if len(hosts) != 1 and (hosts or version != "1.0"):
        raise BadHead
    if any(_HOST.fullmatch(host.rstrip(b" \t")) is None for host in hosts):
        raise BadHead
    codings = [value for name, value in fields if name == b"transfer-encoding"]
    if not codings:
        return int(next((value for name, value in fields if name == b"content-length"), b"0"))
    if version == "1.0" or [coding.strip().lower() for coding in codings] != [b"chunked"]:
        raise BadHead
    return None
