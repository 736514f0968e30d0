"""What each process of the auth service may do in its database. Pure.

The migrations give these rights (``service_kit.database.rights``); ARCHITECTURE's table names the
modules behind them.
"""

from typing import Final

from contracts.events import UserState
from service_kit.database.rights import ADD, ALL, CHANGE, READ, REMOVE, WRITE, Rights

API: Final = "api"
RELAY: Final = "relay"

_STATE: Final = ", ".join([*UserState.model_fields, "deleted_at"])

RIGHTS: Final = Rights(
    {
        # Replays send the state of users: everything but passwords and pending addresses.
        "users": {API: WRITE, RELAY: f"SELECT ({_STATE})"},
        "former_emails": {API: ALL},
        "sessions": {API: ALL},
        "signing_keys": {API: WRITE},
        "service_accounts": {API: ALL},
        "api_keys": {API: WRITE},
        "throttle_rates": {API: ALL},
        "throttle_failures": {API: ALL},
        "throttle_known_networks": {API: ALL},
        "mails": {API: ALL},
        "mail_links": {API: ALL},
        "audit_log": {API: ADD},
        # The API records, and erases payloads; the relay marks, and prunes.
        "outbox_events": {
            API: f"{ADD}, UPDATE (payload, set_aside, is_urgent)",
            RELAY: f"{ADD}, UPDATE (published_at, set_aside), DELETE",
        },
        "held_rows": {API: READ, RELAY: ALL},
        # A comparison asks the API for a heartbeat.
        "source": {
            API: f"{READ}, UPDATE (heartbeat, heartbeat_at)",
            RELAY: f"{READ}, UPDATE (heartbeat, heartbeat_at, trouble, trouble_since,"
            " pruned_position)",
        },
        "replays": {API: WRITE, RELAY: CHANGE},
        "queues": {API: READ, RELAY: ALL},
        # Triggers append for the writer of users; a check in the API locks and corrects; the relay
        # folds.
        "digest_changes": {API: ADD, RELAY: REMOVE},
        "digests": {API: CHANGE, RELAY: WRITE},
    },
    operators_sequences=("outbox_events.position",),
)
