"""Rendered events, against the bytes that the client library would send."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

from aiormq.abc import ChannelFrame
from hypothesis import given
from hypothesis import strategies as st
from pamqp.body import ContentBody
from pamqp.commands import Basic
from pamqp.header import ContentHeader

from auth_service.outbox.rendering import Renderer
from contracts.events.envelope import StoredEvent, encode_stored
from contracts.events.models import VERSION_MAX

SOURCES = ("https://auth.example.org", "https://auth.example.org/a%20b%(id)b%%", "§ä")

events = st.builds(
    StoredEvent,
    event_id=st.uuids(),
    type=st.sampled_from(["user.created", "user.deleted", "sync.heartbeat", "a%b"]),
    occurred_at=st.integers(0, 200_000_000_000_000_000).map(
        lambda microseconds: datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=microseconds)
    ),
    payload=st.none() | st.text(max_size=400),
    position=st.none() | st.integers(0, VERSION_MAX),
    user_id=st.none() | st.uuids(),
    version=st.none() | st.integers(0, VERSION_MAX),
    traceparent=st.none()
    | st.just("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
    | st.text(max_size=70),
    is_urgent=st.booleans(),
)


def sent_by_the_library(event: StoredEvent, source: str, key: str, size_max: int) -> bytes:
    message = encode_stored(event, source=source)
    body = message.body
    return ChannelFrame.marshall(
        7,
        [
            Basic.Publish(exchange="users", routing_key=key, mandatory=True),
            ContentHeader(properties=message.properties, body_size=len(body)),
            *(ContentBody(body[at : at + size_max]) for at in range(0, len(body), size_max)),
        ],
    ).payload


@given(st.lists(events, min_size=1, max_size=5), st.sampled_from(SOURCES), st.integers(50, 500))
def test_the_bytes_are_those_of_the_library(
    some: list[StoredEvent], source: str, size_max: int
) -> None:
    """With every attribute present or absent, values of any length, and bodies of many frames."""
    renderer = Renderer(source=source, exchange="users", channel=7, body_bytes_max=size_max)
    for event in some * 2:
        for key in (event.type, "blog", "%"):
            rendered = renderer.render(event, key)
            assert rendered == sent_by_the_library(event, source, key, size_max)


def test_times_are_rendered_in_utc() -> None:
    renderer = Renderer(source="s", exchange="users", channel=7, body_bytes_max=1000)
    event = StoredEvent(
        event_id=UUID(int=1),
        type="user.created",
        occurred_at=datetime.fromisoformat("2026-11-29T01:02:03.000004+05:30"),
        payload="{}",
    )

    rendered = renderer.render(event, "k")

    assert rendered == sent_by_the_library(event, "s", "k", 1000)
    assert b"2026-11-28T19:32:03.000004Z" in rendered
