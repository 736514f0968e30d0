"""Send queued mails, over SMTP or into a folder.

Guarantees: a mail that a committed transaction requested is sent at least once, within the limits
(``limit``). It goes to the address that its user has at that time, and to no disabled or deleted
user. Its link is created at that time, so that none is in the queue. No row lock or transaction is
open while the mail server is contacted. A server that hangs delays neither requests nor the exit of
the process.

Not here: why a mail is sent (``accounts``), using its link (``links``).
"""

import asyncio
import time
from collections import Counter
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Final

import structlog
from sqlalchemy.ext.asyncio import AsyncEngine

from auth_service.mail import metrics
from auth_service.mail.letters import Purpose, compose_letter
from auth_service.mail.limit import spend_mail
from auth_service.mail.links import create_link, delete_expired_links
from auth_service.mail.message import BadRecipient, Message, build_message
from auth_service.mail.queue import (
    ATTEMPTS_MAX,
    ClaimedMail,
    claim_due_mails,
    count_queued,
    remove,
    requeue,
    save_charge,
)
from auth_service.mail.recipient import Recipient, find_recipient
from auth_service.mail.transport import (
    FolderTransport,
    NotDelivered,
    Refused,
    SmtpTransport,
    Transport,
)
from auth_service.mail_addresses import sender_address, smtp_server
from auth_service.settings import ApiSettings
from auth_service.throttle.throttle import Throttle
from auth_service.users.former_emails import delete_expired_emails
from service_kit.database.away import DATABASE_AWAY
from service_kit.process.backoff import pause_seconds

log = structlog.get_logger()

AT_ONCE_MAX: Final = 4
"""Mails in flight from one process: enough for speed, within any server's limits."""

POLL_SECONDS: Final = 5.0
"""How late a retry may be, or a mail requested in another process that has exited since."""

CLEAN_SECONDS: Final = 60.0
"""How often expired links are deleted: they are harmless and few."""


FORMS: Final = {Purpose.CONFIRM_EMAIL: Purpose.VERIFY_EMAIL}
"""Purposes whose links the form of another purpose opens: both verify an address."""


class Result(StrEnum):
    """The outcome of an attempt."""

    SENT = "sent"
    NEEDLESS = "needless"  # its user is deleted or disabled, or has already done what it asks for
    REQUEUED = "put_back"
    LIMITED = "limited"
    REFUSED = "refused"
    GIVEN_UP = "given_up"


class MailSender:
    """Sends queued mails until cancelled; any number of processes may run one."""

    def __init__(self, engine: AsyncEngine, settings: ApiSettings) -> None:
        self._engine = engine
        self._settings = settings
        self._from = sender_address(settings.mail_from)
        self._transport = transport(settings)
        self._throttle = Throttle(engine, settings.secrets)
        self._woken = asyncio.Event()
        self._clean_at = 0.0

    def wake(self) -> None:
        """Look for due mails now, since one may have been queued."""
        self._woken.set()

    async def run(self) -> None:
        """Send until cancelled; wait while the database is unavailable."""
        failures = 0
        while True:
            self._woken.clear()
            try:
                claimed = sum((await self.run_once()).values())
                failures = 0
            # A failure here would go unnoticed, so log it and keep running.
            except Exception as error:
                failures += 1
                if isinstance(error, DATABASE_AWAY):
                    metrics.waiting.clear()
                    self._clean_at = float("-inf")
                    log.warning("mail.database_away", error=type(error).__name__)
                else:
                    log.error("mail.unexpected", exc_info=error)
                await asyncio.sleep(pause_seconds(failures, longest=POLL_SECONDS))
                continue
            if claimed < AT_ONCE_MAX:
                await self._wait()

    async def run_once(self) -> Counter[Result]:
        """Send a few due mails; return how many had which outcome."""
        await self._delete_expired()
        async with self._engine.begin() as connection:
            claimed = await claim_due_mails(connection, AT_ONCE_MAX)
        results = await asyncio.gather(*map(self._send, claimed), return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException):
                raise result
        return Counter(result for result in results if isinstance(result, Result))

    async def _send(self, mail: ClaimedMail) -> Result:
        """Send one mail, then requeue or remove it."""
        result, reason = await self._attempt(mail)
        async with self._engine.begin() as connection:
            if result is Result.REQUEUED:
                await requeue(connection, mail)
            else:
                await remove(connection, mail)
        metrics.mails_total.labels(purpose=mail.purpose.value, result=result.value).inc()
        self._log(mail, result, reason)
        return result

    async def _attempt(self, mail: ClaimedMail) -> tuple[Result, str]:
        """Deliver one mail; return the outcome and its reason."""
        if mail.attempts > ATTEMPTS_MAX:
            return Result.GIVEN_UP, "no attempt finished"
        try:
            async with self._engine.begin() as connection:
                recipient = await find_recipient(connection, mail, self._settings)
            if recipient is None:
                return Result.NEEDLESS, ""
            # Charged once for all attempts: retries are the same mail. Charged again for another
            # address, whose limit has not paid for it.
            charged_to = self._throttle.key("mail_charged", recipient.email)
            if mail.charged_to != charged_to and not await self._may_be_sent(mail, recipient.email):
                return Result.LIMITED, "a limit of its address or network is spent"
            message = await self._compose(mail, recipient, charged_to)
            if message is None:
                return Result.REQUEUED, "its address has changed"
            await self._transport.deliver(message)
        except BadRecipient:
            return Result.REFUSED, "the address cannot be put into a mail"
        except Refused as error:
            return Result.REFUSED, str(error)
        except NotDelivered as error:
            is_last = mail.attempts == ATTEMPTS_MAX
            return Result.GIVEN_UP if is_last else Result.REQUEUED, str(error)
        return Result.SENT, ""

    async def _may_be_sent(self, mail: ClaimedMail, address: str) -> bool:
        return await spend_mail(
            self._throttle, self._settings, mail.purpose, address=address, networks=mail.networks
        )

    async def _compose(
        self, mail: ClaimedMail, seen: Recipient, charged_to: bytes
    ) -> Message | None:
        """Compose the mail and store its link; return None if the recipient has changed.

        Parameters:
            seen: the recipient whose limit was charged.
            charged_to: keyed hash of that address.
        """
        settings = self._settings
        link = ""
        async with self._engine.begin() as connection:
            # This locks the user's row before their mail's, as a deletion does.
            recipient = await find_recipient(connection, mail, settings)
            if mail.charged_to != charged_to:
                await save_charge(connection, mail, charged_to)
            if recipient is None or recipient.email != seen.email:
                return None
            if recipient.seconds and not recipient.is_taken:
                token = await create_link(
                    connection,
                    mail.user_id,
                    mail.purpose,
                    until=recipient.until,
                    seconds=recipient.seconds,
                    former_email_id=mail.former_email_id,
                )
                # After the #, so that it never reaches a server, a proxy or a log.
                link = f"{page_url(settings)}#{FORMS.get(mail.purpose, mail.purpose)}={token}"
        return build_message(
            compose_letter(
                mail.purpose,
                site=settings.address,
                link=link,
                seconds=recipient.seconds,
                is_verified=recipient.is_verified,
            ),
            sender=self._from,
            recipient=recipient.email,
            at=datetime.now(UTC),
        )

    async def _delete_expired(self) -> None:
        if time.monotonic() < self._clean_at:
            return
        async with self._engine.begin() as connection:
            await delete_expired_links(connection)
            await delete_expired_emails(connection)
            metrics.waiting.set(await count_queued(connection))
        self._clean_at = time.monotonic() + CLEAN_SECONDS

    def _log(self, mail: ClaimedMail, result: Result, reason: str) -> None:
        """Log a failure, with ids and without an address."""
        about = {
            "mail": mail.id,
            "user_id": str(mail.user_id),
            "purpose": mail.purpose.value,
            "attempts": mail.attempts,
            "reason": reason,
        }
        if result is Result.REQUEUED:
            log.warning("mail.requeued", **about)
        elif result in (Result.REFUSED, Result.GIVEN_UP, Result.LIMITED):
            log.warning("mail.dropped", **about)

    async def _wait(self) -> None:
        try:
            async with asyncio.timeout(POLL_SECONDS):
                await self._woken.wait()
        except TimeoutError:
            pass


def transport(settings: ApiSettings) -> Transport:
    """The transport of the settings: exactly one of the two is set."""
    if settings.smtp_url is not None:
        return SmtpTransport(smtp_server(settings.smtp_url.get_secret_value()))
    assert settings.mail_folder is not None  # else there is no sender
    return FolderTransport(Path(settings.mail_folder))


def page_url(settings: ApiSettings) -> str:
    """The page that links in mails open."""
    return settings.link_url or f"{settings.address}/link"
