"""Downloads of archives: few at once, none large, none for long, and the event loop stays free."""

import asyncio
import io
from collections.abc import AsyncIterator
from typing import Any
from zipfile import ZipFile

import pytest

from service_kit.http.downloads import AT_ONCE_MAX, BYTES_MAX, Downloads
from service_kit.http.problems import Problem
from service_kit.process.archive import Archive

SCOPE = {"type": "http", "asgi": {"spec_version": "2.4"}, "method": "GET", "headers": []}


async def posts(count: int, body: str) -> AsyncIterator[dict[str, Any]]:
    for _ in range(count):
        yield {"body": body}


async def a_little(archive: Archive) -> None:
    await archive.add_rows("posts", posts(3, "Grüße"))


async def an_hour_of_the_longest_posts(archive: Archive) -> None:
    await archive.add_rows("posts", posts(600, "\N{GRINNING FACE}" * 20_000))


async def respond(downloads: Downloads, write: Any = a_little) -> Any:
    return await downloads.archive_response("blog", "ada.zip", write)


async def never() -> Any:
    return await asyncio.Event().wait()


async def sent(response: Any) -> bytes:
    """Send a response to a client that reads all of it."""
    body = io.BytesIO()

    async def send(message: Any) -> None:
        body.write(message.get("body", b""))

    await response(SCOPE, never, send)
    return body.getvalue()


async def assert_all_free(downloads: Downloads) -> None:
    for response in [await respond(downloads) for _ in range(AT_ONCE_MAX)]:
        await sent(response)


async def test_one_too_many_is_refused_until_another_has_been_sent() -> None:
    downloads = Downloads()
    responses = [await respond(downloads) for _ in range(AT_ONCE_MAX)]

    with pytest.raises(Problem) as refused:
        await respond(downloads)

    assert (refused.value.code.name, refused.value.code.status) == ("busy", 503)
    assert int(refused.value.headers["Retry-After"]) > 0
    body = await sent(responses.pop())
    assert int(responses[0].headers["Content-Length"]) == len(body)
    with ZipFile(io.BytesIO(body)) as file:
        assert file.testzip() is None
    responses.append(await respond(downloads))
    for response in responses:
        await sent(response)


async def test_a_slow_reader_is_cut_off() -> None:
    downloads = Downloads(send_seconds_max=0.1)
    response = await respond(downloads)

    async def send(_: Any) -> None:
        await never()

    with pytest.raises(TimeoutError):
        await response(SCOPE, never, send)
    await assert_all_free(downloads)


async def test_more_than_the_limit_is_refused_and_leaves_nothing_behind() -> None:
    """However well it could be compressed: the work is limited, too."""
    downloads = Downloads()
    for _ in range(AT_ONCE_MAX + 1):
        with pytest.raises(Problem) as refused:
            await respond(downloads, an_hour_of_the_longest_posts)
        assert (refused.value.code.name, refused.value.code.status) == ("export_too_large", 409)
    await assert_all_free(downloads)


async def test_a_failure_leaves_nothing_behind() -> None:
    downloads = Downloads()

    async def fail(_: Archive) -> None:
        raise LookupError

    for _ in range(AT_ONCE_MAX + 1):
        with pytest.raises(LookupError):
            await respond(downloads, fail)
    await assert_all_free(downloads)


async def test_the_event_loop_is_free_while_an_archive_is_written() -> None:
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async def most_of_the_limit(archive: Archive) -> None:
        await archive.add_rows("posts", posts(100, "x" * (BYTES_MAX // 110)))

    counting = asyncio.create_task(count())
    response = await respond(Downloads(), most_of_the_limit)
    assert turns > 5  # as many as there are groups of rows
    counting.cancel()
    await sent(response)
