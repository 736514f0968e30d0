"""The use cases of users on a database, without HTTP."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncEngine

from auth_service.accounts.change_email import change_email
from auth_service.accounts.delete import delete
from auth_service.accounts.sign_up import sign_up
from auth_service.users.model import User
from auth_service.users.passwords import Passwords
from tests.support.auth_api import PASSWORD
from tests.support.inbox import OnDatabase
from tests.support.relaying import outbox


@dataclass(frozen=True)
class Accounts(OnDatabase):
    """Users who all have the same password, and their database."""

    engine: AsyncEngine
    passwords: Passwords

    async def sign_up(self, email: str, **given: Any) -> User:
        return await sign_up(self.engine, self.passwords, email=email, password=PASSWORD, **given)

    async def change_email(
        self, user: User, email: str, password: str = PASSWORD, **given: Any
    ) -> User:
        return await change_email(
            self.engine, self.passwords, user.id, email=email, password=password, **given
        )

    async def delete(self, user: User, password: str = PASSWORD) -> None:
        await delete(self.engine, self.passwords, user.id, password=password)

    async def outbox(self, user: User | UUID | None = None) -> list[Row[Any]]:
        return await outbox(self.engine, user.id if isinstance(user, User) else user)
