"""The limits of a replay, for code that must not import the models of its bodies (``replays``)."""

from typing import Final, Literal, get_args

PATH: Final = "/v1/admin/replays"

SCOPE: Final = "replays:write"
"""The scope that a service account needs to start, read and steer replays."""

RATE_MAX: Final = 100_000
"""Events a second: more than a broker takes from one publisher."""

USERS_MAX: Final = 1_000
"""Users named in one replay; their ids fill half of the longest body that the source takes."""

POSITION_MAX: Final = 2**53 - 1
"""Every JSON reader keeps such a number exact; no log has a position as high."""

UserEventType = Literal["user.created", "user.updated", "user.deleted"]

TYPES: Final[tuple[str, ...]] = get_args(UserEventType)
"""The event types that a replay sends. Heartbeats and revoked keys concern a moment, not a user."""
