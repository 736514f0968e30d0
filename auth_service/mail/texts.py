"""What mails say. Pure."""

from dataclasses import dataclass
from typing import Final

from auth_service.mail.purpose import Purpose


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

If it was not you, there is nothing to do: without the link nothing happens.
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

_LETTERS: Final = {
    Purpose.VERIFY_EMAIL: _VERIFY,
    Purpose.RESET_PASSWORD: _RESET,
    Purpose.PASSWORD_CHANGED: _CHANGED,
}

_UNITS: Final = ((86_400, "days"), (3600, "hours"), (60, "minutes"))


def letter(purpose: Purpose, *, site: str, link: str, seconds: int) -> Letter:
    """The letter for ``purpose``.

    Parameters:
        purpose: why it is written.
        site: what the reader has his account at.
        link: what to open, if the letter has a link.
        seconds: for how long the link works.
    """
    form = _LETTERS[purpose]
    return Letter(form.subject, form.text.format(site=site, link=link, time=in_words(seconds)))


def in_words(seconds: int) -> str:
    """A time as people say it: in the largest unit of which it is a whole number, above one.

    So a day is 24 hours, and an hour 60 minutes.
    """
    for length, unit in _UNITS:
        if seconds % length == 0 and seconds > length:
            return f"{seconds // length} {unit}"
    return f"{seconds} seconds"
