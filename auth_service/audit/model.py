"""Entries of the audit log and their actions. Pure."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

ANONYMOUS: Final = "anonymous"
"""The actor without a name, such as the person who opens a link from a mail."""


class Action(StrEnum):
    """What was done; names follow OWASP's logging vocabulary if it has one."""

    USER_CREATED = "user_created"
    USERS_IMPORTED = "users_imported"
    USER_EXPORTED = "user_exported"
    USER_VIEWED = "user_viewed"
    USERS_SEARCHED = "users_searched"
    USER_DELETED = "user_deleted"
    USER_DISABLED = "user_disabled"
    USER_ENABLED = "user_enabled"
    ROLES_CHANGED = "roles_changed"
    EMAIL_CHANGE_ASKED = "email_change_asked"
    EMAIL_RESTORED = "email_restored"
    EMAIL_CHANGED = "email_changed"
    EMAIL_VERIFIED = "email_verified"
    PASSWORD_CHANGED = "authn_password_change"  # noqa: S105 - a name, no secret
    PASSWORD_RESET = "authn_password_reset"  # noqa: S105 - a name, no secret
    TOKEN_REUSED = "authn_token_reuse"  # noqa: S105 - a name, no secret
    SESSIONS_ENDED = "sessions_ended"
    KEY_GENERATED = "key_generated"
    KEY_ACTIVATED = "key_activated"
    KEY_RETIRED = "key_retired"
    KEY_REVOKED = "key_revoked"
    SERVICE_CREATED = "service_created"
    SERVICE_DELETED = "service_deleted"
    SERVICE_DISABLED = "service_disabled"
    SERVICE_ENABLED = "service_enabled"
    SCOPES_ADDED = "scopes_added"
    API_KEY_CREATED = "api_key_created"
    API_KEY_REVOKED = "api_key_revoked"
    SOURCE_RESTORED = "source_restored"
    LOG_PRUNED = "log_pruned"
    REPLAY_STARTED = "replay_started"
    REPLAY_PAUSED = "replay_paused"
    REPLAY_RESUMED = "replay_resumed"
    REPLAY_CANCELLED = "replay_cancelled"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One entry.

    ``request_id`` identifies the request in the service's log; None for a command. ``details``
    depend on the action.
    """

    id: int
    occurred_at: datetime
    action: str
    actor: str
    subject: str | None
    request_id: str | None
    details: dict[str, Any] | None
