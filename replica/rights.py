"""What each process of a service with a replica may do in the library's tables. Pure.

An API redrives parked messages, so it may apply events like the consumer. A service adds its own
tables, with that of its users (``users``), and gives the rights in its migrations
(``service_kit.database.rights``).
"""

from collections.abc import Mapping
from typing import Final

from service_kit.database.rights import ADD, ALL, READ, WRITE

API: Final = "api"
CONSUMER: Final = "consumer"

USERS: Final[Mapping[str, str]] = {API: WRITE, CONSUMER: ALL}
"""Of the service's table of users. Only comparisons remove rows."""

TABLES: Final[Mapping[str, Mapping[str, str]]] = {
    "revoked_keys": {API: WRITE, CONSUMER: WRITE},
    "services": {API: WRITE, CONSUMER: WRITE},
    "heartbeats": {API: WRITE, CONSUMER: WRITE},
    "parked_messages": {API: ALL, CONSUMER: ALL},
    "discarded_messages": {API: ADD, CONSUMER: ADD},
    "waiting_messages": {API: ALL, CONSUMER: ALL},
    "attempts": {API: ALL, CONSUMER: ALL},
    "reconcile_runs": {API: WRITE, CONSUMER: ALL},
    "current_proof": {API: READ, CONSUMER: WRITE},
    "proofs": {API: READ, CONSUMER: f"{ADD}, DELETE"},
    "samples": {API: READ, CONSUMER: ALL},
    "tail_lines": {API: READ, CONSUMER: f"{ADD}, DELETE"},
    "tail_watch": {API: WRITE, CONSUMER: READ},
    # Triggers append for the writer of users; the consumer folds, checks and corrects.
    "digest_changes": {API: ADD, CONSUMER: f"{ADD}, DELETE"},
    "digests": {API: READ, CONSUMER: WRITE},
    "orphan_tombstones": {API: READ, CONSUMER: ALL},
}

TEMPORARY: Final = frozenset({CONSUMER})
"""A comparison stages users of the source in temporary tables."""
