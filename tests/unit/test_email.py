"""The one form in which an e-mail address is stored and compared."""

import re
import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from auth_service.mail_addresses import is_bare_address, sender_address
from auth_service.users.model import BadEmail, normalised_email
from auth_service.users.new_address import validate_new_address
from contracts.events import EMAIL_LENGTH_MAX
from tests.support.refusals import refusal


def test_an_address_has_one_form() -> None:
    """Lower case and NFC, so that an address is taken in every spelling."""
    for sent, stored in (
        ("ada@example.org", "ada@example.org"),
        ("Ada@Example.ORG", "ada@example.org"),
        ("ADA.LOVELACE+blog@EXAMPLE.org", "ada.lovelace+blog@example.org"),
        ("JOSE\u0301@example.org", "jos\u00e9@example.org"),
        ("ada@xn--bcher-kva.example", "ada@b\u00fccher.example"),
    ):
        assert normalised_email(sent) == stored, sent


@given(st.emails())
def test_the_form_is_final(email: str) -> None:
    form = normalised_email(email)
    assert normalised_email(form) == form
    assert normalised_email(email.swapcase()) == form
    assert unicodedata.is_normalized("NFC", form)
    assert len(form) <= EMAIL_LENGTH_MAX


NO_ADDRESSES = """
    ada ada@ @example.org ada@@example.org ada@example ada@example.org> ada@-example.org
"""


def test_what_is_no_address_is_refused() -> None:
    for text in (
        "",
        *NO_ADDRESSES.split(),
        "ada @example.org",
        "ada\x00@example.org",
        "ada\n@example.org",
        "ada@example.org\nbcc: eve@example.org",
        "ada@example.org, eve@example.org",
        "ada@exa mple.org",
        f"{'a' * 300}@example.org",
        f"ada@{'a' * 300}.org",
    ):
        refusal(BadEmail, normalised_email, text)


@given(st.text(max_size=400))
def test_any_text_is_refused_in_one_way(text: str) -> None:
    try:
        form = normalised_email(text)
    except BadEmail:
        return
    assert "@" in form


DELIVERABLE = """
    Ada@Example.org ada+blog@example.org o'neil!#$%&*/=?^_`{|}~-@example.org josé@example.org
    почта@пример.рф 用户@例子.公司 ada@xn--bcher-kva.example ada@example.museum
"""


def test_a_deliverable_address_is_accepted() -> None:
    for text in (*DELIVERABLE.split(), f"{'a' * 64}@example.org", f"{'é' * 32}@example.org"):
        assert validate_new_address(text) == normalised_email(text), text


ENCODED_WORDS = """
    =?utf-8?q?ada?=@example.org =?utf-8?q?eve=40evil.example?=@example.org =?utf-8?q?ada@example.org
    =?UTF-8?B?YWRh?=@example.org ada=?utf-8?q?x?=@example.org
"""
"""A mail's header would display them as another address."""

OUTSIDE_THE_PUBLIC_DNS = """
    ada@example.alt ada@mail.internal ada@example.c ada@example.local ada@example.test
    ada@example.onion ada@localhost ada@[192.0.2.1] ada@[IPv6:2001:db8::1] ada@192.0.2.1
    ada@example.org.
"""
LONG_DOMAINS = [f"{'b' * 60}.{'c' * 60}.{'d' * 60}.example.org", f"{'ü' * 30}." * 5 + "example"]


def test_an_undeliverable_address_is_refused() -> None:
    """At sign-up, where a person can still correct it, and not when a mail is sent."""
    for text in (
        *ENCODED_WORDS.split(),
        *OUTSIDE_THE_PUBLIC_DNS.split(),
        # too long before the @, in octets, or as a whole
        f"{'a' * 65}@example.org",
        f"{'é' * 33}@example.org",
        f"{'用' * 22}@example.org",
        f"{'a' * 64}@{LONG_DOMAINS[0]}",
        f"{'é' * 32}@{LONG_DOMAINS[1]}",
        # invisible characters, and variants of letters
        *(f"ad{hidden}a@example.org" for hidden in ("\ufe0f", "\u115f", "\u200b", "\U000e0061")),
        *(f"{variant}da@example.org" for variant in ("\uff41", "\u24d0")),
        '"ada b"@example.org',
        '"ada"@example.org',
        "ada\x00@example.org",
    ):
        refusal(BadEmail, validate_new_address, text)


@given(st.emails())
def test_an_accepted_address_fits_into_a_mail(email: str) -> None:
    """The sender of mails refuses a text that is more than one address."""
    try:
        taken = validate_new_address(email)
    except BadEmail:
        return
    assert is_bare_address(taken)
    assert len(taken.rpartition("@")[0].encode()) <= 64


PLAIN = st.from_regex(
    re.compile(r"[\w+-]+(\.[\w+-]+)*@[a-z0-9-]+(\.[a-z0-9-]+)+", re.ASCII), fullmatch=True
)


@given(PLAIN)
def test_a_plain_address_is_what_the_parser_of_headers_makes_of_it(address: str) -> None:
    """So it needs no parsing."""
    assert is_bare_address(address)
    assert sender_address(address).addr_spec == address
