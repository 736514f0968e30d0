"""The form of an OAuth request: parsed unambiguously, or refused."""

from urllib.parse import urlencode

from hypothesis import given
from hypothesis import strategies as st

from auth_service.oauth.form import FORM_BYTES_MAX, PARAMETERS_MAX, BadForm, read_form
from tests.support.refusals import refusal

ANY = st.text(st.characters(exclude_categories=["Cs"]))
SOME = st.dictionaries(ANY, ANY.filter(bool), max_size=PARAMETERS_MAX)


@given(SOME)
def test_what_a_client_encodes_is_read(form: dict[str, str]) -> None:
    assert read_form(urlencode(form).encode()) == form


@given(st.binary(max_size=200))
def test_any_body_is_a_form_or_refused(body: bytes) -> None:
    """Nothing but ``BadForm`` is ever raised, and no value is empty."""
    try:
        form = read_form(body)
    except BadForm:
        return
    assert all(form.values())


def test_what_a_form_says() -> None:
    """A parameter without a value counts as missing (RFC 6749 3.2)."""
    for body, form in (
        *((b"", {}), (b"a", {}), (b"a=", {}), (b"a=&b=1", {"b": "1"})),
        *((b"a=1&&b=2", {"a": "1", "b": "2"}), (b"a=1=2", {"a": "1=2"})),
        *((b"a=1+%2B%3d", {"a": "1 +="}), (b"a=%C3%A9", {"a": "é"})),
        (b"scope=posts:write", {"scope": "posts:write"}),
    ):
        assert read_form(body) == form, body


def test_what_is_refused() -> None:
    """Duplicates in any encoding, bad encodings, too many, too long; nothing is repeated."""
    for body in (
        *(b"a=1&a=1", b"a=1&a=", b"a&a", b"a=1&%61=2"),
        *(b"a=%", b"a=%4", b"a=%zz", b"a=%u0041", b"a=%FF", b"a=%C0%AF", b"a=%ED%A0%80"),
        *(b"a=\xc3\xa9", b"a=1 2", b"a=1\n", b"a=\x00"),
        b"&".join(b"p%d=1" % number for number in range(PARAMETERS_MAX + 1)),
        b"a=" + b"1" * FORM_BYTES_MAX,
    ):
        assert len(str(refusal(BadForm, read_form, body))) < 80
