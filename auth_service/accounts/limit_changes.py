"""Limit how often a user changes the password or address of their account.

Each change invalidates the reset links mailed before it. Without a limit, a person who signed up
with another person's address could change it in a loop. No link would live long enough to be
opened, and the address's holder could never take the account over, nor get one of their own.
"""

from uuid import UUID

from auth_service.context import Context
from auth_service.throttle.model import Charge


async def spend_account_change(auth: Context, user_id: UUID) -> None:
    """Count a change; call it once the password is verified.

    So nobody who merely has a session can use up the owner's changes.

    Raises:
        TooManyRequests: the account was changed too often.
    """
    limit = auth.settings.limit_account_changes
    await auth.throttle.spend(Charge("account_changes", str(user_id), limit))
