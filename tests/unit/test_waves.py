"""Splitting the head of the outbox so that one user never has two events under way."""

from itertools import count
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from auth_service.outbox.backlog import RecordedEvent, waves
from tests.support.builders import NOON

USERS = [UUID(int=number) for number in range(1, 5)]


@st.composite
def heads(draw: st.DrawFn) -> list[RecordedEvent]:
    positions = count(1)
    users = draw(st.lists(st.sampled_from([*USERS, None]), max_size=30))
    return [
        RecordedEvent(
            position=next(positions),
            event_id=UUID(int=1),
            type="user.updated",
            user_id=user_id,
            version=None if user_id is None else 1,
            occurred_at=NOON,
            payload="{}",
            traceparent=None,
        )
        for user_id in users
    ]


@given(heads())
def test_every_event_is_in_exactly_one_wave(events: list[RecordedEvent]) -> None:
    split = waves(events)
    positions = sorted(event.position for wave in split for event in wave)
    assert positions == [event.position for event in events]
    assert all(split)


@given(heads())
def test_a_wave_has_at_most_one_event_of_a_user(events: list[RecordedEvent]) -> None:
    """At most one event of a user is unconfirmed, so that a nack cannot turn two round."""
    for wave in waves(events):
        users = [event.user_id for event in wave]
        assert len(users) == len(set(users))


@given(heads())
def test_the_events_of_a_user_keep_their_order(events: list[RecordedEvent]) -> None:
    split = waves(events)
    for user_id in [*USERS, None]:
        sent = [event.position for wave in split for event in wave if event.user_id == user_id]
        assert sent == sorted(sent)


@given(heads())
def test_there_are_no_more_waves_than_needed(events: list[RecordedEvent]) -> None:
    """The first wave has every user's first event, so few round trips are needed."""
    users = [event.user_id for event in events]
    assert len(waves(events)) == max((users.count(user_id) for user_id in users), default=0)
