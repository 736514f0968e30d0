"""The server finds the end of each request, however requests are framed, split and pipelined."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.http_wire import REFUSED, converse

SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: t\r\n\r\n"
"""A body that looks like a request."""

OFFERS = {
    "h2c": (
        b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
        b"HTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n"
    ),
    "without its settings": b"Upgrade: h2c\r\nConnection: upgrade\r\n",
    "websocket": (
        b"Connection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\nSec-WebSocket-Version: 13\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    ),
    "foo": b"connection: UPGRADE\r\nuPGRADE:foo\r\n",
    "a list": b"Connection: upgrade\r\nUpgrade: HTTP/2.0, h2c ,websocket\r\n",
    "several": b"Upgrade: h2c\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nUpgrade: foo/1\r\n",
    "empty": b"Connection: Upgrade\r\nUpgrade:\r\n",
    "TLS": b"Upgrade: TLS/1.0\r\nConnection:Upgrade\r\nConnection: keep-alive\r\n",
    "not for this hop": b"Upgrade: h2c\r\n",
    "without a protocol": b"Connection: Upgrade\r\n",
}


def length(body: bytes, fields: bytes = b"", line: bytes = b"POST /x HTTP/1.1") -> bytes:
    head = line + b"\r\nHost: t\r\n" + fields + b"Content-Length: %d\r\n\r\n" % len(body)
    return head + body


def chunks(
    *parts: bytes, fields: bytes = b"", extension: bytes = b"", trailer: bytes = b""
) -> bytes:
    body = b"".join(b"%x%s\r\n%s\r\n" % (len(part), extension, part) for part in parts if part)
    head = b"POST /x HTTP/1.1\r\nHost: t\r\n" + fields + b"Transfer-Encoding: chunked\r\n\r\n"
    return head + body + b"0" + extension + b"\r\n" + trailer + b"\r\n"


def ran(body: bytes = b"", method: str = "POST", path: str = "/x") -> dict[str, str]:
    return {"method": method, "path": path, "body": body.decode("latin-1")}


GOOD: dict[str, tuple[bytes, dict[str, str]]] = {
    "a GET": (b"GET /a?b=c HTTP/1.1\r\nHost: t\r\n\r\n", ran(method="GET", path="/a")),
    "a GET with a body": (length(SMUGGLED, line=b"GET /x HTTP/1.1"), ran(SMUGGLED, "GET")),
    "a HEAD with a body": (length(SMUGGLED, line=b"HEAD /x HTTP/1.1"), ran(SMUGGLED, "HEAD")),
    "a DELETE with a body": (length(SMUGGLED, line=b"DELETE /x HTTP/1.1"), ran(SMUGGLED, "DELETE")),
    "an empty body": (length(b""), ran()),
    "a body": (length(SMUGGLED), ran(SMUGGLED)),
    "chunks": (chunks(SMUGGLED, SMUGGLED), ran(SMUGGLED * 2)),
    "no chunk": (chunks(), ran()),
    "chunks of ends": (chunks(b"\r\n", b"\r\n\r\n", b"0\r\n\r\n"), ran(b"\r\n\r\n\r\n0\r\n\r\n")),
    "trailers": (
        chunks(SMUGGLED, trailer=b"Upgrade: h2c\r\nConnection: close, upgrade\r\nHost: u\r\n"),
        ran(SMUGGLED),
    ),
    "extensions": (chunks(SMUGGLED, extension=b';a=b;c="0"'), ran(SMUGGLED)),
    "100-continue": (length(SMUGGLED, b"Expect: 100-continue\r\n"), ran(SMUGGLED)),
    "another expectation": (length(SMUGGLED, b"Expect: the-best\r\n"), ran(SMUGGLED)),
    "an absolute address": (length(b"", line=b"GET HTTP://e/x?y HTTP/1.1"), ran(method="GET")),
    "no path": (length(b"", line=b"GET http://e HTTP/1.1"), ran(method="GET", path="/")),
    "no path, a query": (length(b"", line=b"GET http://e?y HTTP/1.1"), ran(method="GET", path="/")),
    "the server": (length(b"", line=b"OPTIONS * HTTP/1.1"), ran(method="OPTIONS", path="*")),
    "an early response": (length(SMUGGLED, line=b"POST /early HTTP/1.1"), ran(path="/early")),
    "an empty line before": (b"\r\n" + length(SMUGGLED), ran(SMUGGLED)),
    **{
        f"an offer, {name}, {kind}": (made, ran(SMUGGLED))
        for name, fields in OFFERS.items()
        for kind, made in (
            ("length", length(SMUGGLED, fields)),
            ("chunks", chunks(SMUGGLED, fields=fields)),
        )
    },
}

BAD: dict[str, bytes] = {
    "CONNECT": b"CONNECT t:443 HTTP/1.1\r\nHost: t\r\n\r\n",
    "CONNECT with a body": length(SMUGGLED, line=b"CONNECT /x HTTP/1.1"),
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "HTTP/2.0": b"GET / HTTP/2.0\r\nHost: t\r\n\r\n",
    "HTTP/1.2": b"GET / HTTP/1.2\r\nHost: t\r\n\r\n",
    "HTTP/0.9": b"GET /\r\n",
    "RTSP": b"DESCRIBE / RTSP/1.0\r\nHost: t\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "a lower-case method": b"get / HTTP/1.1\r\nHost: t\r\n\r\n",
    "blanks": b"GET  /  HTTP/1.1\r\nHost: t\r\n\r\n",
    "a tab": b"GET\t/ HTTP/1.1\r\nHost: t\r\n\r\n",
    "a fragment": b"GET /x#y HTTP/1.1\r\nHost: t\r\n\r\n",
    "a fragment of the query": b"GET /x?y#z HTTP/1.1\r\nHost: t\r\n\r\n",
    "no Host": b"GET / HTTP/1.1\r\n\r\n",
    "two Hosts": b"GET / HTTP/1.1\r\nHost: t\r\nHost: t\r\n\r\n",
    "two Hosts in HTTP/1.0": b"GET / HTTP/1.0\r\nHost: t\r\nhost: u\r\n\r\n",
    "a list of Hosts": b"GET / HTTP/1.1\r\nHost: t, u/v\r\n\r\n",
    "a Host with a blank": b"GET / HTTP/1.1\r\nHost: t u\r\n\r\n",
    "a Host with a user": b"GET / HTTP/1.1\r\nHost: t@u\r\n\r\n",
    "bare line feeds": b"GET / HTTP/1.1\nHost: t\n\n",
    "one bare line feed": b"GET / HTTP/1.1\r\nHost: t\nX: y\r\n\r\n",
    "a last bare line feed": b"GET / HTTP/1.1\r\nHost: t\r\n\n",
    "a bare carriage return": b"GET / HTTP/1.1\r\nHost: t\rX: y\r\n\r\n",
    "a folded line": b"GET / HTTP/1.1\r\nHost: t\r\nX: y\r\n z\r\n\r\n",
    "a folded offer": length(SMUGGLED, b"Connection: upgrade\r\nUpgrade:\r\n h2c\r\n"),
    "a blank before the colon": b"GET / HTTP/1.1\r\nHost: t\r\nX : y\r\n\r\n",
    "an offer with a blank": length(SMUGGLED, b"Connection: upgrade\r\nUpgrade : h2c\r\n"),
    "a NUL": b"GET / HTTP/1.1\r\nHost: t\r\nX: \0\r\n\r\n",
    "length and chunks": chunks(SMUGGLED, fields=b"Content-Length: 3\r\n"),
    "chunks and length": b"POST / HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n"
    b"Content-Length: 5\r\n\r\n0\r\n\r\n",
    "two lengths": length(SMUGGLED, b"Content-Length: 0\r\n"),
    "twice the same length": length(b"ab", b"Content-Length: 2\r\n"),
    "a list of lengths": b"POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 2, 2\r\n\r\nab",
    "a length with a sign": b"POST / HTTP/1.1\r\nHost: t\r\nContent-Length: +2\r\n\r\nab",
    "a length out of range": b"POST / HTTP/1.1\r\nHost: t\r\nContent-Length: %d\r\n\r\n" % 2**64,
    "chunks twice": chunks(SMUGGLED, fields=b"Transfer-Encoding: chunked\r\n"),
    "chunks of something": chunks(SMUGGLED, fields=b"Transfer-Encoding: gzip\r\n"),
    "chunks of identity": chunks(SMUGGLED, fields=b"Transfer-Encoding: identity\r\n"),
    "a list of codings": b"POST / HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
    "an unknown coding": b"POST / HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: xchunked\r\n\r\n",
    "chunks in HTTP/1.0": b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
}

BAD_BODIES: dict[str, bytes] = {
    "no size": b"\r\nx\r\n0\r\n\r\n",
    "a size out of range": b"fffffffffffffffff\r\nx",
    "a size with a sign": b"-1\r\nx",
    "a size with 0x": b"0x1\r\nx\r\n0\r\n\r\n",
    "a blank after the size": b"1 \r\nx\r\n0\r\n\r\n",
    "a bare line feed": b"1\nx\n0\n\n",
    "a longer chunk": b"1\r\nxy\r\n0\r\n\r\n",
    "a line in an extension": b'1;a="\r\n"\r\nx\r\n0\r\n\r\n',
    "a trailer without a colon": b"0\r\nGET /smuggled HTTP/1.1\r\nHost: t\r\n\r\n",
    "a folded trailer": b"0\r\nA: b\r\n c\r\n\r\n",
    "a length as trailer": b"0\r\nContent-Length: 5\r\n\r\n",
}


async def assert_own_responses(
    sent: bytes, cuts: Sequence[int], wanted: Sequence[dict[str, str]]
) -> None:
    """Check that each request runs once, unchanged, and gets its own response."""
    ends = [*cuts, len(sent)]
    pieces = [sent[start:end] for start, end in zip([0, *cuts], ends, strict=True)]

    seen = await converse(pieces, expected=len(wanted))

    assert seen.ran == list(wanted)
    assert [response_to(one) for one in wanted] == seen.responses


def response_to(request: dict[str, str]) -> Any:
    return (200, b"") if request["method"] == "HEAD" else request


@pytest.mark.parametrize("name", GOOD)
async def test_two_requests_are_told_apart_wherever_they_are_split(name: str) -> None:
    """Split in two at every position, and byte by byte."""
    sent, wanted = GOOD[name]
    after, wanted_after = GOOD["a GET"]
    sent += after
    for cut in range(len(sent)):
        await assert_own_responses(sent, [cut], [wanted, wanted_after])
    await assert_own_responses(sent, range(len(sent)), [wanted, wanted_after])


@settings(deadline=None, max_examples=150)
@given(data=st.data(), names=st.lists(st.sampled_from(sorted(GOOD)), min_size=2, max_size=5))
def test_any_sequence_of_requests_runs_in_order(data: st.DataObject, names: list[str]) -> None:
    sent = b"".join(GOOD[name][0] for name in names)
    cuts = data.draw(st.lists(st.integers(0, len(sent)), max_size=8).map(sorted))
    asyncio.run(assert_own_responses(sent, cuts, [GOOD[name][1] for name in names]))


@pytest.mark.parametrize("cuts", [[], [1], [40]], ids=str)
@pytest.mark.parametrize("sent", [length(b"\r\n" * 200), chunks(*[b"\r\n\r\n"] * 50)])
async def test_empty_lines_in_a_body_are_not_requests(sent: bytes, cuts: list[int]) -> None:
    """They must not end the current request."""
    alone = await converse([sent], expected=1)
    await assert_own_responses(sent * 5, cuts, alone.ran * 5)


async def test_any_number_of_pipelined_requests_is_answered() -> None:
    """They wait unparsed, so no limit is needed."""
    sent, wanted = GOOD["a GET"]
    await assert_own_responses(sent * 500, [], [wanted] * 500)


@pytest.mark.parametrize("name", BAD)
async def test_an_ambiguous_request_is_refused_once(name: str) -> None:
    """Wherever it is split; nothing after it runs, and the connection closes."""
    sent = BAD[name] + SMUGGLED
    for cut in range(len(BAD[name])):
        seen = await converse([sent[:cut], sent[cut:]], expected=2)
        assert (seen.ran, seen.responses, seen.closed) == ([], [(400, REFUSED)], True)


@pytest.mark.parametrize("name", BAD_BODIES)
async def test_an_invalid_body_closes_the_connection(name: str) -> None:
    """After one response: the refusal, or an earlier response of the application."""
    for path, responses in ((b"/x", [(400, REFUSED)]), (b"/early", [ran(path="/early")])):
        head = b"POST " + path + b" HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n"
        for cut in range(len(BAD_BODIES[name])):
            pieces = [head, BAD_BODIES[name][:cut], BAD_BODIES[name][cut:] + SMUGGLED]
            seen = await converse(pieces, expected=2)
            assert (seen.responses, seen.closed) == (responses, True)


@pytest.mark.parametrize("name", BAD)
async def test_an_invalid_request_after_a_valid_one_gets_no_response(name: str) -> None:
    """A proxy could take the refusal for the response to the next request on this connection."""
    seen = await converse([length(SMUGGLED) + BAD[name]], expected=2)
    assert (seen.ran, seen.responses, seen.closed) == ([ran(SMUGGLED)], [ran(SMUGGLED)], True)


@pytest.mark.parametrize("line", [b"POST /early HTTP/1.1", b"POST /x HTTP/1.1"])
async def test_a_response_before_the_expected_body_closes_the_connection(line: bytes) -> None:
    """Without 100 Continue the client may or may not send the body."""
    head = length(SMUGGLED, b"Expect: 100-Continue\r\n", line).removesuffix(SMUGGLED)
    seen = await converse([head, b"", SMUGGLED, SMUGGLED], expected=2)
    if b"early" in line:
        assert (seen.responses, seen.closed) == ([ran(path="/early")], True)
    else:
        assert seen.responses == [ran(SMUGGLED), ran(method="GET", path="/smuggled")]


async def test_http_1_0_needs_no_host_and_closes_the_connection() -> None:
    """Health checks of proxies use it."""
    seen = await converse([b"GET /x HTTP/1.0\r\n\r\n" + SMUGGLED], expected=2)
    assert (seen.responses, seen.closed) == ([ran(method="GET")], True)
