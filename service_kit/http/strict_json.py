"""Accept only strict JSON in request bodies (RFC 8259, RFC 7493), which all readers read alike.

Python's parser takes more than JSON: UTF-16, names that stand twice (the last one wins, elsewhere
the first), halves of surrogate pairs that no encoding holds, and PostgreSQL keeps no NUL. Each of
these would surprise code further in, so it is refused before any route sees it.

Guarantees: a body of 64 KiB costs a few milliseconds at most, for any structure. Without a
limit on members, each unknown one would cost its own description of the error.
"""

import json
import re
from collections.abc import MutableMapping
from typing import Any, Final

from starlette.exceptions import HTTPException

from service_kit.http import problems
from service_kit.process.telemetry import Asgi

MEMBERS_MAX: Final = 100
"""Of one object; ours have ten."""

OBJECTS_MAX: Final = 1_000
"""In one body; ours are one or two. Each costs the parser a call."""

INTEGER_LENGTH_MAX: Final = 17
"""A sign and sixteen digits: with more, half of the readers would see another number."""

_TEXT = re.compile(
    r"(?:[^\\]++|\\[^u]|\\u(?!0000|[dD][89a-fA-F])....|\\u[dD][89abAB]..\\u[dD][c-fC-F]..)*+",
    re.DOTALL,
)
"""A JSON text in which each escape stands for Unicode: no NUL, no half of a surrogate pair.

Without backtracking on any input (possessive quantifiers)."""


class NotStrict(ValueError):
    """The JSON is not strict; the message names the rule and nothing that was sent."""


def strict_json(encoded: bytes) -> Any:
    """Parse a JSON text.

    Raises:
        NotStrict: unless it is UTF-8 with at most ``OBJECTS_MAX`` objects, each of at most
            ``MEMBERS_MAX`` members of different names, with texts that are Unicode without a NUL
            and numbers that are finite, integers below 2^53 (RFC 7493 2.2).
    """
    objects = 0

    def members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        nonlocal objects
        objects += 1
        value = dict(pairs)
        if len(value) != len(pairs) or len(pairs) > MEMBERS_MAX or objects > OBJECTS_MAX:
            raise NotStrict("a name stands twice, or there is too much of something")
        return value

    try:
        text = encoded.decode()
        value = json.loads(
            text,
            object_pairs_hook=members,
            parse_int=_integer,
            parse_constant=_no_constant,
        )
    except (ValueError, RecursionError) as error:
        raise NotStrict("no strict JSON") from error
    # Only an escape can stand for what a UTF-8 text cannot hold; a bare NUL is no JSON.
    if not _TEXT.fullmatch(text):
        raise NotStrict("a text is no Unicode, or has a NUL")
    return value


def _integer(digits: str) -> int:
    if len(digits) > INTEGER_LENGTH_MAX or abs(value := int(digits)) >= 2**53:
        raise NotStrict("a number is too large")
    return value


def _no_constant(_: str) -> Any:
    raise NotStrict("a number is not finite")


def with_strict_json(app: Asgi) -> Asgi:
    """Middleware (ASGI): a JSON body that is not strict is 422; any other passes through as it is.

    It collects the body; what limits its size goes around it.
    """

    async def call(scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] != "http" or not _announces_json(scope["headers"]):
            await app(scope, receive, send)
            return
        is_read = False

        async def receive_checked() -> Any:
            nonlocal is_read
            if is_read:
                return await receive()
            body = bytearray()
            while True:
                message = await receive()
                if message["type"] != "http.request":  # the caller is gone
                    return message
                body += message.get("body", b"")
                if not message.get("more_body", False):
                    break
            is_read = True
            try:
                if body:
                    strict_json(bytes(body))
            except NotStrict:
                raise HTTPException(problems.INVALID_REQUEST.status) from None
            return {"type": "http.request", "body": bytes(body), "more_body": False}

        await app(scope, receive_checked, send)

    return call


def _announces_json(headers: list[tuple[bytes, bytes]]) -> bool:
    # Any of them: which one of several a framework believes is its own affair.
    kinds = [
        value.partition(b";")[0].strip().lower()
        for name, value in headers
        if name == b"content-type"
    ]
    return any(
        kind.startswith(b"application/") and kind.endswith((b"/json", b"+json")) for kind in kinds
    )
