"""Which replays are valid, how their state changes, and when their next events are due."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auth_service.outbox.backlog import RecordedEvent
from auth_service.replays import model
from auth_service.replays.batch import Batch, Checkpoint, Progress, Step
from auth_service.replays.model import Replay, Selection, State
from contracts.events import UserCreated, UserDeleted, UserUpdated
from contracts.sync.replay_limits import POSITION_MAX, RATE_MAX, TYPES, USERS_MAX
from tests.support.builders import NOON
from tests.support.refusals import refusal

HOUR = timedelta(hours=1)
USER = UUID(int=7)


def test_a_replay_can_send_every_event_about_a_user() -> None:
    """The types are named apart from the events, so that commands need no models."""
    assert set(TYPES) == {UserCreated.type, UserUpdated.type, UserDeleted.type}


def a_replay(number: int = 1, **changes: Any) -> Replay:
    values: dict[str, Any] = {
        "id": UUID(int=number),
        "consumer": "blog",
        "selection": Selection(),
        "rate": 100,
        "state": State.RUNNING,
        "requested_by": "operator:ada",
        "created_at": NOON,
        "expected": 500,
        "published": 0,
        "last_position": 500,
        "done_position": 0,
        **dict.fromkeys(("trouble", "done_user_id", "started_at", "updated_at", "finished_at")),
    }
    return Replay(**(values | changes))


class TestRequests:
    """A request that contradicts itself or exceeds a limit is refused with a sentence."""

    def test_an_invalid_request_is_refused(self) -> None:
        """Each contradiction and each limit has a sentence of its own."""
        state = {"current_state": True}
        refusals: list[tuple[str, list[dict[str, Any]]]] = [
            ("name", [{"consumer": name} for name in ("Blog", "", "a" * 65, "blog\n")]),
            ("rate", [{"rate": 0}, {"rate": RATE_MAX + 1}]),
            ("types", [{"types": ("key.revoked",)}, {"types": ("sync.heartbeat", TYPES[0])}]),
            ("users", [{"users": (USER,) * (USERS_MAX + 1)}]),
            ("from 1 to", [{"from_position": 0}, {"from_position": POSITION_MAX + 1}]),
            ("later", [{"since": since, "until": NOON} for since in (NOON, NOON + HOUR)]),
            ("filtered by user only", [state | {"since": NOON}, state | {"until": NOON}]),
            ("filtered by user only", [state | {"from_position": 1}, state | {"types": TYPES[:1]}]),
        ]
        for because, requests in refusals:
            for refused in requests:
                assert because in str(refusal(model.InvalidReplay, demand, **refused))

    def test_a_valid_request_is_accepted(self) -> None:
        demand(
            since=NOON, until=NOON + HOUR, from_position=1, users=(USER,) * USERS_MAX, types=TYPES
        )
        demand(current_state=True, users=(USER,), rate=RATE_MAX)
        demand(consumer="a-2_b", rate=1)

    def test_a_filter_by_type_warns(self) -> None:
        """An empty replica may end up with old states, unless all types are named."""
        assert Selection(types=("user.created",)).warning is not None
        assert a_replay(selection=Selection(types=("user.created",))).warning is not None
        assert Selection(types=TYPES).warning is None
        assert Selection().warning is None

    def test_a_start_before_the_oldest_event_is_refused(self) -> None:
        """Only after the log was pruned."""
        for selection, is_refused in (
            (Selection(), True),
            (Selection(from_position=10), True),
            (Selection(from_position=11), False),
            (Selection(since=NOON), True),
            (Selection(since=NOON + HOUR), False),
            (Selection(since=NOON, from_position=11), False),
            (Selection(since=NOON + HOUR, from_position=1), False),
            (Selection(current_state=True), False),
        ):
            model.require_in_log(selection, model.Pruned(0, NOON))
            if is_refused:
                with pytest.raises(model.LogPruned, match=r"after position 10 .*--current-state"):
                    model.require_in_log(selection, model.Pruned(10, NOON))
            else:
                model.require_in_log(selection, model.Pruned(10, NOON))

    def test_an_empty_pruned_log_accepts_no_time(self) -> None:
        """Everything was pruned: no time is known to be after that."""
        with pytest.raises(model.LogPruned):
            model.require_in_log(Selection(since=NOON + HOUR), model.Pruned(10, None))

    def test_a_plan_sums_its_types(self) -> None:
        by_type = {"user.created": 40, "user.updated": 50, "user.deleted": 10}
        plan = model.Plan(
            consumer="blog", selection=Selection(), rate=50, by_type=by_type, erased_users=3
        )
        assert (plan.events, plan.seconds, plan.warning) == (100, 2.0, None)


class TestStates:
    """Which states an operator may set."""

    @pytest.mark.parametrize("wish", [State.RUNNING, State.PAUSED, State.CANCELLED])
    @pytest.mark.parametrize("state", list(State))
    def test_a_finished_replay_stays_finished(self, state: State, wish: Any) -> None:
        """Every other change is valid, unless the replay has that state already."""
        if state.is_final and state != wish:
            with pytest.raises(model.ReplayFinished, match=state):
                model.is_change(state, wish)
        else:
            assert model.is_change(state, wish) == (state != wish)

    def test_the_seconds_left_follow_from_the_rate(self) -> None:
        """Never below zero, and None for a finished replay."""
        assert a_replay(published=200).seconds_left == 3.0
        assert a_replay(published=501).seconds_left == 0.0
        assert a_replay(published=200, state=State.CANCELLED).seconds_left is None


class TestPace:
    """Events come evenly, at the requested rate."""

    def test_a_batch_takes_a_tenth_of_a_second(self) -> None:
        """At least one event, and no more than the setting allows."""
        for rate, limit in (
            *((1, 1), (10, 1), (99, 9), (model.RATE_DEFAULT, 100), (5_000, 500), (RATE_MAX, 500)),
        ):
            assert model.batch_limit(rate, 500) == limit, rate

    @given(
        rate=st.integers(1, RATE_MAX),
        works=st.lists(st.floats(0, 3, allow_subnormal=False), min_size=1, max_size=50),
    )
    def test_no_period_exceeds_the_rate(self, rate: int, works: list[float]) -> None:
        """However long batches take: delays are never caught up in a burst."""
        limit = model.batch_limit(rate, 500)
        begun = list(begins(a_replay(rate=rate), limit, works))
        for n, first in enumerate(begun):
            for m, later in enumerate(begun[n:], 1):
                seconds = later - first + model.CATCH_UP_SECONDS
                assert (m - 1) * limit <= rate * seconds * (1 + 1e-9) + 1e-6

    def test_small_delays_are_caught_up(self) -> None:
        begun = list(begins(a_replay(rate=100), 10, [0.05] * 100))
        assert begun[-1] == pytest.approx(99 * 0.1, abs=0.11)

    def test_another_replay_is_due_at_once(self) -> None:
        pace = model.Pace()
        pace.published(a_replay(1, rate=1), 1, began=1000.0)
        assert pace.due(a_replay(1, rate=1)) > 1000.0
        assert pace.due(a_replay(2)) < 1000.0


class TestProgress:
    """The progress of a replay after the broker has responded."""

    @given(st.lists(st.booleans()))
    def test_only_a_fully_confirmed_prefix_counts(self, confirmed: list[bool]) -> None:
        prefix = model.confirmed_prefix(confirmed)
        assert all(confirmed[:prefix])
        assert prefix == len(confirmed) or not confirmed[prefix]

    def test_the_checkpoint_is_before_the_first_refused_event(self) -> None:
        """Steps without an event are skipped, up to the event that must be sent again."""
        steps = [Step(Checkpoint(n), an_event(n) if n in (3, 5, 6) else None) for n in range(2, 7)]
        batch = Batch(Checkpoint(1), steps, Checkpoint(9), is_last=True)
        for confirmed, moved in (
            ([], Progress(Checkpoint(2), 0, False)),
            ([False, True, True], Progress(Checkpoint(2), 0, False)),
            ([True], Progress(Checkpoint(4), 1, False)),
            ([True, False, True], Progress(Checkpoint(4), 1, False)),
            ([True, True, False], Progress(Checkpoint(5), 2, False)),
            ([True, True, True], Progress(Checkpoint(9), 3, True)),
        ):
            assert batch.after(confirmed) == moved, confirmed

    def test_an_empty_batch_moves_the_checkpoint(self) -> None:
        """A stretch of the log in which nothing is selected."""
        batch = Batch(Checkpoint(1), [], Checkpoint(50_001), is_last=False)
        assert batch.after([]) == Progress(Checkpoint(50_001), 0, False)


def demand(*, consumer: str = "blog", rate: int = model.RATE_DEFAULT, **selection: Any) -> None:
    model.require_valid(consumer, Selection(**selection), rate)


def begins(replay: Replay, limit: int, works: list[float]) -> Iterator[float]:
    """Return when each batch begins, if publishing takes ``works`` seconds."""
    pace, now = model.Pace(), 0.0
    for work in works:
        now = max(now, pace.due(replay))
        yield now
        pace.published(replay, limit, began=now)
        now += work


def an_event(position: int) -> RecordedEvent:
    return RecordedEvent(
        position=position,
        event_id=UUID(int=position),
        type="user.updated",
        user_id=USER,
        version=position,
        occurred_at=datetime(2026, 1, 1, tzinfo=UTC),
        payload="{}",
        traceparent=None,
    )
