"""Build a mail as bytes, with its envelope. Pure.

Guarantees: it goes to exactly one recipient, and no address can inject a header.
"""

from dataclasses import dataclass
from datetime import datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP, SMTPUTF8
from email.utils import format_datetime, make_msgid

from auth_service.mail.letters import Letter
from auth_service.mail_addresses import deliverable, is_bare_address


class BadRecipient(Exception):
    """The address cannot be put into a mail."""


@dataclass(frozen=True, slots=True)
class Message:
    """A mail as bytes, with its envelope."""

    sender: str
    recipient: str
    content: bytes

    @property
    def needs_utf8(self) -> bool:
        """Whether only a server with SMTPUTF8 (RFC 6531) can accept it."""
        return not (self.sender + self.recipient).isascii()


def build_message(letter: Letter, *, sender: Address, recipient: str, at: datetime) -> Message:
    """Build the mail with ``letter`` from ``sender`` to ``recipient``.

    Raises:
        BadRecipient: the recipient is not one address.
    """
    from_, to = deliverable(sender.addr_spec), deliverable(recipient)
    if not is_bare_address(to):
        raise BadRecipient
    mail = EmailMessage(policy=SMTP if (from_ + to).isascii() else SMTPUTF8)
    mail["From"] = Address(sender.display_name, addr_spec=from_)
    mail["To"] = to
    mail["Subject"] = letter.subject
    mail["Date"] = format_datetime(at)
    mail["Message-ID"] = make_msgid(domain=from_.rpartition("@")[2])
    mail["Auto-Submitted"] = "auto-generated"  # RFC 3834: no automatic replies
    # ASCII text, as our letters are, is sent unencoded, so that links stay in one piece.
    mail.set_content(letter.text, cte="7bit" if letter.text.isascii() else "quoted-printable")
    return Message(from_, to, mail.as_bytes())
