"""The one form in which an e-mail address is stored and compared."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auth_service.users.model import BadEmail, normalised_email
from contracts.events import EMAIL_LENGTH_MAX


@pytest.mark.parametrize(
    ("sent", "stored"),
    [
        ("ada@example.org", "ada@example.org"),
        ("Ada@Example.ORG", "ada@example.org"),
        ("ADA.LOVELACE+blog@EXAMPLE.org", "ada.lovelace+blog@example.org"),
        ("JOSE\u0301@example.org", "jos\u00e9@example.org"),
        ("ada@xn--bcher-kva.example", "ada@b\u00fccher.example"),
    ],
)
def test_an_address_has_one_form(sent: str, stored: str) -> None:
    """Lower case and NFC, so that an address taken once is taken in every spelling."""
    assert normalised_email(sent) == stored


@given(st.emails())
def test_the_form_is_final(email: str) -> None:
    """Normalising twice changes nothing, and case does not matter."""
    form = normalised_email(email)

    assert normalised_email(form) == form
    assert normalised_email(email.swapcase()) == form
    assert unicodedata.is_normalized("NFC", form)
    assert len(form) <= EMAIL_LENGTH_MAX


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ada",
        "ada@",
        "@example.org",
        "ada@@example.org",
        "ada@example",
        "ada @example.org",
        "ada\x00@example.org",
        "ada\n@example.org",
        "ada@example.org\nbcc: eve@example.org",
        "ada@exa mple.org",
        "ada@-example.org",
        f"{'a' * 300}@example.org",
        f"ada@{'a' * 300}.org",
    ],
)
def test_what_is_no_address_is_refused(text: str) -> None:
    """Only an address of bounded length is an address."""
    with pytest.raises(BadEmail):
        normalised_email(text)


@given(st.text(max_size=400))
def test_any_text_is_refused_in_one_way(text: str) -> None:
    """Arbitrary text is an address or raises BadEmail, nothing else."""
    try:
        form = normalised_email(text)
    except BadEmail:
        return
    assert "@" in form
