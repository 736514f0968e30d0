"""How much is measured: enough to trust (the default), little (quick), a million events (long)."""

from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """Numbers of events, users and seconds; each measurement repeats its turns ``rounds`` times."""

    rounds: int = 3
    # Recorded or queued before the clock starts, so that neither side waits for work.
    events: int = 20_000
    # Some seconds of work each, for a ratio near one.
    traced_events: int = 100_000
    # Slower peers get less, for about as many seconds.
    faststream_events: int = 3_000
    dramatiq_events: int = 5_000
    # The length of the log for the claim that the relay's work does not grow with it.
    short_log_rows: int = 10_000
    long_log_rows: int = 1_000_000
    # The users of a source with which a replica is compared.
    users: int = 1_000_000
    # The sizes of a table for which a proof has to cost the same.
    proof_users: tuple[int, ...] = (10_000, 1_000_000)
    # The users of an export.
    imported_users: int = 200_000
    # Users of an empty replica that is filled with and without digests.
    filled_users: int = 300_000
    # Changes of the replica by hand, each of which has to be named.
    damages: int = 50
    # How long users change while proofs are made.
    traffic_seconds: float = 120.0
    whole_way_seconds: float = 8.0
    # One additional run of the whole way; 0: none.
    million: int = 0
    latency_seconds: float = 10.0
    # Events that wait while users are deleted.
    waiting_events: int = 100_000
    # Less than the burst of one user takes.
    burst_seconds: float = 5.0
    password_seconds: float = 4.0
    request_seconds: float = 4.0


DEFAULT = Scale()
QUICK = Scale(
    rounds=1,
    events=5_000,
    traced_events=5_000,
    faststream_events=800,
    dramatiq_events=1_500,
    long_log_rows=100_000,
    users=20_000,
    proof_users=(2_000, 20_000),
    imported_users=20_000,
    filled_users=20_000,
    damages=3,
    traffic_seconds=30.0,
    whole_way_seconds=3.0,
    latency_seconds=3.0,
    waiting_events=20_000,
    password_seconds=1.5,
    request_seconds=1.5,
)
LONG = replace(
    DEFAULT,
    million=1_000_000,
    proof_users=(10_000, 1_000_000, 10_000_000),
    traffic_seconds=1_800.0,
)
