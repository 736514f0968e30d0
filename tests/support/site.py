"""Run the whole system at addresses that a browser can open, and open browser contexts on it."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from playwright.async_api import Browser, ConsoleMessage, Page, Request

from auth_service.accounts.administer import administer
from auth_service.settings import DatabaseSettings
from local.ports import free_port
from service_kit.database.engines import pooled
from tests.support.auth_api import bearer, signed_up
from tests.support.eventually import eventually
from tests.support.system import COMMANDS, Member, System

PATIENCE_MS = 10_000
"""How long a page may take to show the expected content; a busy machine takes a second."""


@dataclass(frozen=True)
class Site:
    """The four processes. The blog serves the pages and may compare itself with the source.

    The auth service is not at its issuer's address, as if another program had taken its port.
    """

    system: System
    former_auth_url: str
    """The issuer's address, which the auth service no longer uses."""
    auth_api: Member
    relay: Member
    blog_api: Member
    consumer: Member

    @classmethod
    async def on(cls, system: System, **settings: object) -> "Site":
        """Prepare the processes with additional ``settings``; do not start them."""
        ports = {command: free_port() for command in COMMANDS}
        auth_url, blog_url = (
            f"http://127.0.0.1:{ports[command]}"
            for command in ("auth-service api", "blog-service api")
        )
        system = await system.with_account(auth_url)
        former_url = f"http://127.0.0.1:{free_port()}"
        shared: dict[str, object] = {
            "AUTH_ISSUER": former_url,
            "AUTH_PUBLIC_URL": auth_url,
            "AUTH_CORS_ORIGINS": blog_url,
            "BLOG_ISSUER": former_url,
            "BLOG_AUTH_PUBLIC_URL": auth_url,
            "AUTH_WATCHED_QUEUES": "blog.users",
            "AUTH_MAIL_FOLDER": system.folder / "mail",
            "AUTH_DOCS": True,
            "BLOG_DOCS": True,
            "AUTH_RETRY_SECONDS_MAX": 0.5,
            "BLOG_RETRY_SECONDS_MAX": 0.5,
            # Tests add users to the replica that the source does not have.
            "BLOG_PROOF": False,
        }
        members = (
            system.process(command, port, **(shared | settings)) for command, port in ports.items()
        )
        return cls(system, former_url, *members)

    @property
    def members(self) -> tuple[Member, ...]:
        return self.auth_api, self.relay, self.blog_api, self.consumer

    @property
    def url(self) -> str:
        return self.blog_api.url

    def link_to(self, address: str) -> str | None:
        """Return the link in the latest e-mail to ``address``; None without one."""
        mails = sorted((self.system.folder / "mail").glob("*.eml"), reverse=True)
        for text in (mail.read_text() for mail in mails):
            if f"\nTo: {address}\n" in text:
                found = re.search(r"^https?://\S+#\S+$", text, re.MULTILINE)
                return found[0] if found else None
        return None

    async def signed_up(self, email: str, *roles: str) -> dict[str, Any]:
        """Sign up, wait until the replica has the user with ``roles``, and return the response."""
        async with self.auth_api.client() as auth, self.blog_api.client() as blog:
            signed_in = await signed_up(auth, email)
            if roles:
                await self.give_roles(UUID(signed_in["user"]["id"]), *roles)

            async def is_known() -> bool:
                me = (await blog.get("/v1/me", headers=bearer(signed_in))).json()
                return bool(me["status"] == "active" and me["roles"] == sorted(roles))

            await eventually(is_known)
            return signed_in

    async def give_roles(self, user_id: UUID, *roles: str) -> None:
        await self._administer(user_id, roles=roles)

    async def disable(self, user_id: UUID) -> None:
        await self._administer(user_id, status="disabled")

    async def _administer(self, user_id: UUID, **wanted: Any) -> None:
        engine = pooled(DatabaseSettings(database_url=self.system.auth_url))
        try:
            await administer(engine, user_id, actor="operator:test", **wanted)
        finally:
            await engine.dispose()


@dataclass
class Visit:
    """A browser context with one tab, and the errors in it."""

    page: Page
    errors: list[str] = field(default_factory=list)
    """Exceptions in scripts, and violations of the content security policy."""
    requests: list[str] = field(default_factory=list)
    """The addresses of all requests."""


@asynccontextmanager
async def visiting(browser: Browser, site: Site, **options: Any) -> AsyncIterator[Visit]:
    """Open a browser context without cookies; any error in a script fails the test.

    A service that is down, or a response of 4xx, is not an error in a script.
    """
    context = await browser.new_context(base_url=site.url, **options)
    context.set_default_timeout(PATIENCE_MS)
    visit = Visit(await context.new_page())

    def note(message: ConsoleMessage) -> None:
        if message.type == "error" and not message.text.startswith("Failed to load resource"):
            visit.errors.append(message.text)

    def note_request(request: Request) -> None:
        visit.requests.append(request.url)

    visit.page.on("console", note)
    visit.page.on("pageerror", lambda error: visit.errors.append(str(error)))
    visit.page.on("request", note_request)
    try:
        yield visit
        assert not visit.errors
    finally:
        await context.close()
