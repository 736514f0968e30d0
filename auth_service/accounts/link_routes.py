"""Links in mails, over HTTP: request a mail, and use the link in it."""

from fastapi import APIRouter, Response, status

from auth_service.accounts.bodies import ForgottenPassword, MailedToken, NewPassword
from auth_service.accounts.reset_password import reset_password
from auth_service.accounts.restore_email import restore_email
from auth_service.accounts.verify_email import verify_email
from auth_service.context import Auth, Context
from auth_service.mail.letters import Purpose
from auth_service.mail.limit import share_for_strangers
from auth_service.mail.request import request_mail, request_mail_to
from auth_service.mail.sender import MailSender
from auth_service.problems import (
    EMAIL_TAKEN,
    INVALID_EMAIL,
    INVALID_LINK,
    MAIL_NOT_CONFIGURED,
    VERSIONS_EXHAUSTED,
    WEAK_PASSWORD,
)
from auth_service.sessions.bearer import CurrentUser
from auth_service.throttle.model import Charge
from auth_service.throttle.network import network_charges
from auth_service.throttle.sign_in_attempts import remember_network
from auth_service.users.marker import CHANGED, marker
from auth_service.users.model import User, normalised_email
from service_kit.http import problems
from service_kit.http.networks import Network
from service_kit.http.openapi import TOKEN, documented
from service_kit.http.problems import Problem

router = APIRouter(prefix="/v1", tags=["mail"])


@router.post(
    "/me/email/verification",
    status_code=status.HTTP_202_ACCEPTED,
    response_class=Response,
    summary="Resend the mail that verifies your address",
    responses=documented(*TOKEN, problems.TOO_MANY_REQUESTS, MAIL_NOT_CONFIGURED),
)
async def post_verification(user: CurrentUser, auth: Auth, network: Network) -> Response:
    """Send it to the pending address, if there is one; a verified address gets no mail."""
    sender = _sender(auth)
    # By account: the limit of an address would tell anybody who names it about its holder.
    limit = share_for_strangers(auth.settings.limit_mail)
    headers = await _spend_mail(auth, Charge("verification_mail", str(user.id), limit), network)
    purpose = Purpose.CONFIRM_EMAIL if user.pending_email else Purpose.VERIFY_EMAIL
    async with auth.engine.begin() as connection:
        await request_mail(connection, user.id, purpose)
    sender.wake()
    return Response(status_code=status.HTTP_202_ACCEPTED, headers=headers)


@router.post(
    "/email/verify",
    status_code=status.HTTP_204_NO_CONTENT,
    response_class=Response,
    summary="Verify an address by the link in a mail",
    responses=documented(
        INVALID_LINK,
        EMAIL_TAKEN,
        problems.TOO_MANY_REQUESTS,
        VERSIONS_EXHAUSTED,
    )
    | CHANGED,
)
async def post_verify(body: MailedToken, auth: Auth, network: Network) -> Response:
    """Verify the address; a pending one becomes the account's address. The link works once."""
    headers = await _spend_link(auth, network)
    undo_seconds = auth.settings.email_undo_seconds
    user = await verify_email(auth.engine, body.token, undo_seconds=undo_seconds)
    # They own the mailbox: attempts by others must not keep them out on this network.
    await remember_network(auth.throttle, account=user.email, network=network)
    return _changed(user, headers)


@router.post(
    "/email/restore",
    status_code=status.HTTP_204_NO_CONTENT,
    response_class=Response,
    summary="Undo a change of address by the link in its notice",
    responses=documented(
        INVALID_LINK,
        EMAIL_TAKEN,
        problems.TOO_MANY_REQUESTS,
        VERSIONS_EXHAUSTED,
    )
    | CHANGED,
)
async def post_restore(body: MailedToken, auth: Auth, network: Network) -> Response:
    """Restore the former address, end every session, and invalidate the password.

    A mail to the address lets its holder choose a new password. The link works once.
    """
    headers = await _spend_link(auth, network)
    user = await restore_email(auth, body.token)
    await remember_network(auth.throttle, account=user.email, network=network)
    return _changed(user, headers)


@router.post(
    "/password/forgot",
    status_code=status.HTTP_202_ACCEPTED,
    response_class=Response,
    summary="Send a link that sets a new password",
    responses=documented(INVALID_EMAIL, problems.TOO_MANY_REQUESTS, MAIL_NOT_CONFIGURED),
)
async def post_forgot(body: ForgottenPassword, auth: Auth, network: Network) -> Response:
    """Accepted; the response is the same whether or not an account has the address."""
    sender = _sender(auth)
    email = normalised_email(body.email)
    headers = await _spend_mail(auth, Charge("mail", email, auth.settings.limit_mail), network)
    async with auth.engine.begin() as connection:
        await request_mail_to(connection, email, Purpose.RESET_PASSWORD)
    sender.wake()
    return Response(status_code=status.HTTP_202_ACCEPTED, headers=headers)


@router.post(
    "/password/reset",
    status_code=status.HTTP_204_NO_CONTENT,
    response_class=Response,
    summary="Set a new password by the link in a mail",
    responses=documented(
        INVALID_LINK,
        WEAK_PASSWORD,
        problems.TOO_MANY_REQUESTS,
        VERSIONS_EXHAUSTED,
    )
    | CHANGED,
)
async def post_reset(body: NewPassword, auth: Auth, network: Network) -> Response:
    """Set the password, verify the address, and end every session. The link works once."""
    headers = await _spend_link(auth, network)
    user = await reset_password(auth, token=body.token, new=body.new_password.get_secret_value())
    # They own the account: attempts by others must not keep them out on this network.
    await remember_network(auth.throttle, account=user.email, network=network)
    return _changed(user, headers)


def _changed(user: User, headers: dict[str, str]) -> Response:
    """The empty response to a change of ``user``."""
    return Response(status_code=status.HTTP_204_NO_CONTENT, headers=headers | marker(user.version))


async def _spend_link(auth: Context, network: str) -> dict[str, str]:
    """Spend one opened link of ``network``; return the rate-limit headers."""
    charges = network_charges("link", network, auth.settings.limit_token)
    return await auth.throttle.spend(*charges)


def _sender(auth: Context) -> MailSender:
    """The sender of mails; raises ``Problem`` if mail is not configured."""
    if auth.mail is None:
        raise Problem(MAIL_NOT_CONFIGURED)
    return auth.mail


async def _spend_mail(auth: Context, charge: Charge, network: str) -> dict[str, str]:
    """Spend ``charge`` and one requested mail of ``network``; return the rate-limit headers."""
    charges = network_charges("mail_network", network, auth.settings.limit_mail)
    return await auth.throttle.spend(charge, *charges)
