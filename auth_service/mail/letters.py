"""Which mails there are, and what they say. Pure."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Purpose(StrEnum):
    """Why a mail is sent."""

    VERIFY_EMAIL = "verify_email"
    CONFIRM_EMAIL = "confirm_email"
    EMAIL_CHANGE = "email_change"
    RESET_PASSWORD = "reset_password"  # noqa: S105 - a name, no secret
    PASSWORD_CHANGED = "password_changed"  # noqa: S105 - a name, no secret
    TOKEN_REUSED = "token_reused"  # noqa: S105 - a name, no secret
    NEW_DEVICE = "new_device"


NOTICES: Final = frozenset(
    {Purpose.EMAIL_CHANGE, Purpose.PASSWORD_CHANGED, Purpose.TOKEN_REUSED, Purpose.NEW_DEVICE}
)
"""Mails that notify a user of a change to their account.

They go to verified addresses only, and each kind has a share of the limit that no other mail can
use up.
"""


@dataclass(frozen=True, slots=True)
class Letter:
    """A mail's subject and text; neither depends on the recipient's address."""

    subject: str
    text: str


_VERIFY: Final = Letter(
    "Please confirm your e-mail address",
    """\
Hello,

someone, most likely you, used this e-mail address to create an account at
{site}. To confirm that the address is yours, open this link and press
the button:

{link}

The link works once and expires after {time}.

If this was not you, do not open the link: nothing will happen without it. If
you want an account with this address, request a new password on the sign-in
page. That signs out the person who used your address.
""",
)

_RESET: Final = Letter(
    "Choose a new password",
    """\
Hello,

someone, most likely you, requested a new password for your account at
{site}. To choose one, open this link:

{link}

The link works once and expires after {time}. All devices will have to sign in
again.

If this was not you, you can ignore this mail: your password has not changed.
Please do not forward this mail: anyone with the link can take over the account.
""",
)

_CHANGED: Final = Letter(
    "Your password was changed",
    """\
Hello,

the password of your account at {site} has just been changed.

If this was you, you can ignore this mail. If not, request a new password at
once on the sign-in page, and tell the people who run the site.
""",
)

_RESET_UNVERIFIED: Final = Letter(
    "Please confirm your e-mail address with a new password",
    """\
Hello,

someone, most likely you, requested a new password for the account at
{site} with this e-mail address. The address was never confirmed. To
confirm that it is yours and choose a password, open this link:

{link}

The link works once and expires after {time}. All devices will have to sign in
again, including those of anyone else who created the account.

If this was not you, you can ignore this mail: nothing will happen without the
link. Please do not forward this mail: anyone with the link can take over the
account.
""",
)

_CONFIRM: Final = Letter(
    "Please confirm your new e-mail address",
    """\
Hello,

someone, most likely you, wants to use this e-mail address for their account at
{site} in place of the present one. To confirm that the account and the
address are yours, open this link and press the button:

{link}

The link works once and expires after {time}. Until you confirm, the old address
stays in use.

If this was not you, do not open the link: nothing will happen without it.
""",
)

_TAKEN: Final = Letter(
    "Your e-mail address already has an account",
    """\
Hello,

someone wants to use this e-mail address for another account at {site}.
You already have an account with this address, so nothing has changed.

If this was you, sign in to the account with this address, or request a new
password for it. If this was not you, you can ignore this mail.
""",
)

_CHANGE: Final = Letter(
    "Your e-mail address is being changed",
    """\
Hello,

someone, most likely you, requested another e-mail address for your account at
{site}.

If this was you, you can ignore this mail. If not, someone else knows your
password. Open this link and press the button:

{link}

It restores this address, signs out all devices and disables the password. You
then get a mail that lets you choose a new one. The link works once and expires
{time} after the change takes effect.
""",
)

_REUSED: Final = Letter(
    "You were signed out for your safety",
    """\
Hello,

one of your devices used an old sign-in key for your account at {site}.
Someone may have copied the key, so that device has been signed out.

Please sign in again. If you do not know why this happened, change your
password and sign out all other devices.
""",
)

_NEW_DEVICE: Final = Letter(
    "A new device signed in",
    """\
Hello,

someone has just signed in to your account at {site} from a new
device or network.

If this was you, you can ignore this mail. If not, request a new password at
once on the sign-in page. That signs out all devices.
""",
)

_LETTERS: Final = {
    Purpose.VERIFY_EMAIL: _VERIFY,
    Purpose.CONFIRM_EMAIL: _CONFIRM,
    Purpose.EMAIL_CHANGE: _CHANGE,
    Purpose.RESET_PASSWORD: _RESET,
    Purpose.PASSWORD_CHANGED: _CHANGED,
    Purpose.TOKEN_REUSED: _REUSED,
    Purpose.NEW_DEVICE: _NEW_DEVICE,
}

_UNITS: Final = ((86_400, "days"), (3600, "hours"), (60, "minutes"))


def compose_letter(
    purpose: Purpose, *, site: str, link: str, seconds: int, is_verified: bool = True
) -> Letter:
    """Compose the letter for ``purpose``.

    Parameters:
        site: the address of the service at which the reader has an account.
        link: the link to open; empty if there is none.
        seconds: for how long the link works.
        is_verified: whether the reader's address was verified before.
    """
    form = _LETTERS[purpose]
    if purpose is Purpose.RESET_PASSWORD and not is_verified:
        form = _RESET_UNVERIFIED
    elif purpose is Purpose.CONFIRM_EMAIL and not link:
        form = _TAKEN
    return Letter(form.subject, form.text.format(site=site, link=link, time=duration_text(seconds)))


def duration_text(seconds: int) -> str:
    """Write a duration in the largest unit that makes it a whole number above one.

    So a day is "24 hours", and an hour "60 minutes".
    """
    for length, unit in _UNITS:
        if seconds % length == 0 and seconds > length:
            return f"{seconds // length} {unit}"
    return f"{seconds} seconds"
