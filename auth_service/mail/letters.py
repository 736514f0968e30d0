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
"""Mails that tell an account's holder what somebody did with it.

They go to verified addresses alone, and each kind has a share of the limit that no other mail can
use up.
"""


@dataclass(frozen=True, slots=True)
class Letter:
    """A mail's subject and text, before anything is known of whom it goes to."""

    subject: str
    text: str


_VERIFY: Final = Letter(
    "Please confirm your e-mail address",
    """\
Hello,

someone, most likely you, gave this e-mail address for an account at {site}.
To confirm that it is yours, open this link and press the button:

{link}

The link works once, and for {time}.

If it was not you, do not open the link: without it nothing happens. If you want
an account with this address, ask for a new password on the page where you sign
in; that shuts out the person who used your address.
""",
)

_RESET: Final = Letter(
    "Choose a new password",
    """\
Hello,

someone, most likely you, asked for a new password for your account at {site}.
To choose it, open this link:

{link}

The link works once, and for {time}. All devices will have to sign in again.

If it was not you, there is nothing to do: your password stays as it is.
Please do not pass this mail on: who has the link can take over the account.
""",
)

_CHANGED: Final = Letter(
    "Your password was changed",
    """\
Hello,

the password of your account at {site} was changed just now.

If it was you, there is nothing to do. If it was not, ask for a new password at
once, on the page where you sign in, and tell whoever runs the site.
""",
)

_RESET_UNVERIFIED: Final = Letter(
    "Please confirm your e-mail address with a new password",
    """\
Hello,

someone, most likely you, asked for a new password for the account at {site}
that has this e-mail address. The address was never confirmed. To confirm that
it is yours, and to choose the password, open this link:

{link}

The link works once, and for {time}. All devices have to sign in again: if
somebody else made the account, they are out.

If it was not you, there is nothing to do: without the link nothing happens.
Please do not pass this mail on: the link can take over the account.
""",
)

_CONFIRM: Final = Letter(
    "Please confirm your new e-mail address",
    """\
Hello,

an account at {site} is to get this e-mail address in place of the one that it
has. To confirm that the account and the address are yours, open this link and
press the button:

{link}

The link works once, and for {time}. Until then the old address counts.

If it was not you, do not open the link: without it nothing happens.
""",
)

_TAKEN: Final = Letter(
    "Your e-mail address already has an account",
    """\
Hello,

someone wants to use this e-mail address for another account at {site}.
You have an account with it already, so it stays where it is.

If it was you, sign in to the account that has this address, or ask for a new
password there. If it was not you, there is nothing to do.
""",
)

_CHANGE: Final = Letter(
    "Your e-mail address is being changed",
    """\
Hello,

someone, most likely you, asked to change the e-mail address of your account at
{site} to another one.

If it was you, there is nothing to do. If it was not, somebody else knows your
password. Open this link and press the button:

{link}

It brings this address back, signs out all devices and makes the password
useless; a mail then lets you choose a new one. The link works once, and still
{time} after the change has taken effect.
""",
)

_REUSED: Final = Letter(
    "You were signed out for your safety",
    """\
Hello,

a device of yours showed a key to your account at {site} that was used before.
Somebody may have copied it, so that device was signed out.

Please sign in again. If you do not know why this happened, change your
password and sign out all other devices.
""",
)

_NEW_DEVICE: Final = Letter(
    "A new device signed in",
    """\
Hello,

a device or a network that we have not seen with you before signed in to your
account at {site} just now.

If it was you, there is nothing to do. If it was not, ask for a new password at
once, on the page where you sign in: that signs out all devices.
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
    """The letter for ``purpose``.

    Parameters:
        purpose: why it is written.
        site: what the reader has an account at.
        link: what to open, if the letter has a link.
        seconds: for how long the link works.
        is_verified: whether the reader has shown before that the address is theirs.
    """
    form = _LETTERS[purpose]
    if purpose is Purpose.RESET_PASSWORD and not is_verified:
        form = _RESET_UNVERIFIED
    elif purpose is Purpose.CONFIRM_EMAIL and not link:
        form = _TAKEN
    return Letter(form.subject, form.text.format(site=site, link=link, time=duration_text(seconds)))


def duration_text(seconds: int) -> str:
    """A time as people say it: in the largest unit of which it is a whole number, above one.

    So a day is 24 hours, and an hour 60 minutes.
    """
    for length, unit in _UNITS:
        if seconds % length == 0 and seconds > length:
            return f"{seconds // length} {unit}"
    return f"{seconds} seconds"
