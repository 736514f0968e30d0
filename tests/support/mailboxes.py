"""An auth API that sends mails, in the hands of a person who reads them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from auth_service.app import create_app
from auth_service.settings import ApiSettings
from tests.support.auth_api import ADA, AuthApi
from tests.support.mail_server import MailServer


class Post(AuthApi):
    """A client of an auth API, and the server that gets its mails."""

    def __init__(self, app: FastAPI, server: MailServer) -> None:
        super().__init__(app)
        self.server = server
        self.next_mail, self.link = server.next_mail, server.link

    async def reset_token(self, email: str = ADA) -> str:
        """Forget a password; return the token of the link that resets it."""
        assert (await self.forget(email)).status_code == 202
        return await self.link("new password", email)


@asynccontextmanager
async def posting(settings: ApiSettings, server: MailServer) -> AsyncIterator[Post]:
    """Run an API whose mails ``server`` gets."""
    app = create_app(settings)
    async with app.router.lifespan_context(app), Post(app, server) as client:
        yield client
