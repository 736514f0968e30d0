"""The bodies of requests and responses about replays, as ``contracts.sync.replays`` has them."""

from typing import Annotated, Any, Self

from pydantic import ConfigDict, Field

from auth_service.replays.model import (
    CONSUMER_PATTERN,
    RATE_DEFAULT,
    Plan,
    Replay,
    Selection,
    State,
)
from contracts.sync import replays
from contracts.sync.replay_limits import RATE_MAX


class NewReplay(replays.NewReplay):
    """A replay to start. Each condition narrows what is sent; without conditions, the whole log."""

    to: Annotated[
        str,
        Field(pattern=CONSUMER_PATTERN, description="the consumer's name", examples=["blog"]),
    ]
    rate: Annotated[
        int, Field(ge=1, le=RATE_MAX, strict=True, description="events a second, at most")
    ] = RATE_DEFAULT

    def selection(self) -> Selection:
        """The selection of this request."""
        return Selection(
            current_state=self.current_state,
            since=self.since,
            until=self.until,
            from_position=self.from_position,
            users=tuple(self.users),
            types=tuple(self.types),
        )


class PlanBody(replays.PlanBody):
    """What a replay would send; nothing was sent, and nothing will be."""

    model_config = ConfigDict(extra="forbid")

    @classmethod
    def of(cls, plan: Plan) -> Self:
        """Make the body that shows ``plan``."""
        return cls(
            consumer=plan.consumer,
            rate=plan.rate,
            warning=plan.warning,
            events=plan.events,
            by_type=plan.by_type,
            erased_users=plan.erased_users,
            seconds=plan.seconds,
            **_conditions(plan.selection),
        )


class ReplayBody(replays.ReplayBody):
    """A replay and its progress. Times are UTC."""

    model_config = ConfigDict(extra="forbid")

    state: State = Field(description="`running` also while it waits for earlier replays")

    @classmethod
    def of(cls, replay: Replay) -> Self:
        """Make the body that shows ``replay``."""
        return cls(
            id=replay.id,
            consumer=replay.consumer,
            rate=replay.rate,
            warning=replay.warning,
            state=replay.state,
            requested_by=replay.requested_by,
            expected=replay.expected,
            published=replay.published,
            seconds_left=replay.seconds_left,
            trouble=replay.trouble,
            created_at=replay.created_at,
            started_at=replay.started_at,
            updated_at=replay.updated_at,
            finished_at=replay.finished_at,
            **_conditions(replay.selection),
        )


def _conditions(selection: Selection) -> dict[str, Any]:
    return {
        "current_state": selection.current_state,
        "since": selection.since,
        "until": selection.until,
        "from_position": selection.from_position,
        "users": list(selection.users),
        "types": list(selection.types),
    }
