"""Which e-mail address an account may get: one that mail can reach. Pure.

Stricter than ``normalised_email``, by which accounts are found: what was taken before these rules
still signs in, and can be changed and erased.
"""

import re
import unicodedata
from typing import Final

from auth_service.mail_addresses import deliverable, is_bare_address
from auth_service.users.invisible import FILLERS
from auth_service.users.model import BadEmail, normalised_email

LOCAL_OCTETS_MAX: Final = 64
"""RFC 5321 4.5.3.1.1, and RFC 6531 3.1 for UTF-8: mail servers take no more before the @."""

ADDRESS_OCTETS_MAX: Final = 254
"""RFC 5321 4.5.3.1.3: a path of 256 octets with its angle brackets."""

_NOWHERE: Final = re.compile(r"\.(?:alt|internal|.)$", re.ASCII)
"""Ends of domains outside of the public DNS (RFC 9476, ICANN's reservation), and of one character,
which none has. The validator knows the older special names."""

_ENCODED: Final = re.compile(r"=\?.*\?=|=\?[^?]*\?[bq]\?")
"""An encoded word (RFC 2047), which the header of a mail shows as something else."""

_INVISIBLE: Final = re.compile(f"[{FILLERS}\u180b-\u180f]")


def validate_new_address(text: str) -> str:
    """The form in which an account gets the address ``text``.

    Raises:
        BadEmail: it is no address, or none that mail can reach.
    """
    email = normalised_email(text)
    local, _, domain = email.rpartition("@")
    sent = deliverable(email)
    if len(local.encode()) > LOCAL_OCTETS_MAX:
        raise BadEmail(f"before the @ an address has at most {LOCAL_OCTETS_MAX} octets in UTF-8")
    if max(len(email.encode()), len(sent.encode())) > ADDRESS_OCTETS_MAX:
        raise BadEmail(f"an address has at most {ADDRESS_OCTETS_MAX} octets in UTF-8")
    if _ENCODED.search(local) or not is_bare_address(sent):
        raise BadEmail("an encoded word (=?…?=) is no address; write the address itself")
    if _INVISIBLE.search(local) or unicodedata.normalize("NFKC", local) != local:
        raise BadEmail("an address has no invisible characters and no variants of letters")
    if _NOWHERE.search(domain):
        raise BadEmail("no mail can be sent to this domain")
    return email
