"""Limit how often an account's holder changes how one gets into it.

Each change ends the reset links that were mailed before. Somebody who signed up with another
person's address could otherwise change it in a loop, and no link would live long enough to be
opened: that person could never take the account, nor have one with their own address.
"""

from uuid import UUID

from auth_service.context import Context
from auth_service.throttle.model import Charge


async def spend_change(auth: Context, user_id: UUID) -> None:
    """Count a change; to be called when the password was right.

    So nobody who only has a session can use up its owner's changes.

    Raises:
        TooManyRequests: the account was changed too often.
    """
    limit = auth.settings.limit_account_changes
    await auth.throttle.spend(Charge("account_changes", str(user_id), limit))
