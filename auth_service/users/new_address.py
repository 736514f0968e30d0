"""Validate an e-mail address that an account is about to get: mail must be able to reach it. Pure.

Stricter than ``normalised_email``, by which accounts are found: an account whose address is older
than these rules can still sign in, and be changed and erased.
"""

import re
import unicodedata
from typing import Final

from auth_service.mail_addresses import deliverable, is_bare_address
from auth_service.users.invisible import FILLERS
from auth_service.users.model import BadEmail, normalised_email

LOCAL_OCTETS_MAX: Final = 64
"""RFC 5321 4.5.3.1.1, and RFC 6531 3.1 for UTF-8: mail servers accept no more before the @."""

ADDRESS_OCTETS_MAX: Final = 254
"""RFC 5321 4.5.3.1.3: a path of 256 octets with its angle brackets."""

_NOWHERE: Final = re.compile(r"\.(?:alt|internal|.)$", re.ASCII)
"""Top-level domains outside the public DNS (RFC 9476, ICANN's reservation), or of one character.
The validator knows the older special names."""

_ENCODED: Final = re.compile(r"=\?.*\?=|=\?[^?]*\?[bq]\?")
"""An encoded word (RFC 2047), which a mail's header displays as something else."""

_INVISIBLE: Final = re.compile(f"[{FILLERS}\u180b-\u180f]")


def validate_new_address(text: str) -> str:
    """Normalise and check the address of a new account, or an account's new address.

    Raises:
        BadEmail: the text is not a valid address, or mail cannot reach it.
    """
    email = normalised_email(text)
    local, _, domain = email.rpartition("@")
    sent = deliverable(email)
    if len(local.encode()) > LOCAL_OCTETS_MAX:
        raise BadEmail(f"use at most {LOCAL_OCTETS_MAX} octets of UTF-8 before the @")
    if max(len(email.encode()), len(sent.encode())) > ADDRESS_OCTETS_MAX:
        raise BadEmail(f"use an address of at most {ADDRESS_OCTETS_MAX} octets in UTF-8")
    if _ENCODED.search(local) or not is_bare_address(sent):
        raise BadEmail("an encoded word (=?…?=) is not an address; write the address itself")
    if _INVISIBLE.search(local) or unicodedata.normalize("NFKC", local) != local:
        raise BadEmail("an address must not contain invisible characters or variants of letters")
    if _NOWHERE.search(domain):
        raise BadEmail("mail cannot be sent to this domain")
    return email
