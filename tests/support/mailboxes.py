"""Read users' mailboxes, and open the links in their mails."""

import httpx

from tests.support.auth_api import PASSWORD, AuthApi, Signed, bearer
from tests.support.eventually import eventually
from tests.support.mail_server import MailServer, Received


async def next_mail(server: MailServer, subject: str, to: str | None = None) -> Received:
    """Wait for the first mail about ``subject`` (to that address) and remove it."""

    def look() -> Received | None:
        return next(
            (
                mail
                for mail in server.received
                if subject in mail.message["Subject"] and to in (None, *mail.recipients)
            ),
            None,
        )

    found = await eventually(look)
    assert found is not None
    server.received.remove(found)
    return found


async def link(server: MailServer, subject: str, to: str | None = None) -> str:
    """The token of the link in the next mail about ``subject``."""
    return (await next_mail(server, subject, to)).token


async def until_sent(client: AuthApi) -> None:
    async def none_waits() -> bool:
        return not await client.fetch("SELECT 1 FROM mails")

    await eventually(none_waits)


async def verify(client: AuthApi, token: str) -> httpx.Response:
    """Open a link that verifies the present address, or the pending one."""
    return await client.post("/v1/email/verify", json={"token": token})


async def restore(client: AuthApi, token: str) -> httpx.Response:
    """Open a link that undoes a change of address."""
    return await client.post("/v1/email/restore", json={"token": token})


async def forget(client: AuthApi, email: str) -> httpx.Response:
    return await client.post("/v1/password/forgot", json={"email": email})


async def reset(client: AuthApi, token: str, password: str) -> httpx.Response:
    return await client.post("/v1/password/reset", json={"token": token, "new_password": password})


async def change_address(
    client: AuthApi, signed_in: Signed, email: str, password: str = PASSWORD
) -> httpx.Response:
    return await client.patch(
        "/v1/me", headers=bearer(signed_in), json={"email": email, "password": password}
    )
