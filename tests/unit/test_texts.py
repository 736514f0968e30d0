"""What people may write, and what becomes of it."""

import json
import time
import unicodedata
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from blog_service import texts
from blog_service.settings import ApiSettings
from contracts.json_bodies import strict_json

LINES: dict[str, tuple[Any, int]] = {
    "title": (texts.Title, texts.TITLE_LENGTH_MAX),
    "display name": (texts.DisplayName, texts.DISPLAY_NAME_LENGTH_MAX),
}
SEVERAL_LINES: dict[str, tuple[Any, int]] = {
    "post": (texts.PostText, texts.POST_LENGTH_MAX),
    "comment": (texts.CommentText, texts.COMMENT_LENGTH_MAX),
    "bio": (texts.Bio, texts.BIO_LENGTH_MAX),
}
ALL = LINES | SEVERAL_LINES

TURNING = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"

TEXTS = st.text(
    st.sampled_from("ab <&\"'\\\n\r\t\x00\x07\x1b\x7f\x85\u00a0\u200b\u2028\u3164e\u0301\u0323é🐘")
    | st.sampled_from(TURNING)
    | st.characters(exclude_categories=["Cs"]),
    max_size=60,
)


def kept(kind: Any, text: str) -> str:
    """The text as it is kept; raises ``ValidationError``."""
    value: str = TypeAdapter(kind).validate_python(text)
    return value


@pytest.mark.parametrize("name", ALL)
def test_the_limits(name: str) -> None:
    """From one character to the limit, and not one more."""
    kind, length_max = ALL[name]

    assert kept(kind, "x") == "x"
    assert kept(kind, "é" * length_max) == "é" * length_max
    for wrong in ("", "x" * (length_max + 1), "🐘" * (length_max + 1)):
        with pytest.raises(ValidationError):
            kept(kind, wrong)


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize(
    "text",
    [
        *(f"a{character}b" for character in TURNING),
        *(f"a{chr(code)}b" for code in (*range(9), 11, 12, *range(14, 32), *range(127, 160))),
        " ",
        "\n\t\r\n",
        "\u00a0\u2003\u3000",
        "\u200b\u200d\ufeff",
        "\u2028\u2029",
        "\u3164\u115f\u2800\U0001d159",
        "\ufe0f\u034f\u17b4\U000e0100",
        "a" + 31 * "\u0301",
        "a" + 31 * "\u0489",
        "a" + 20 * "\u0316" + "\u034f" + 20 * "\u0316",
        "a" + 20 * "\u0316" + "\u200d" + 20 * "\u0316",
    ],
    ids=ascii,
)
def test_what_hides_turns_or_breaks_is_refused_everywhere(name: str, text: str) -> None:
    """Control characters, overrides, isolates, blanks of all kinds, towers of marks."""
    with pytest.raises(ValidationError):
        kept(ALL[name][0], text)


@pytest.mark.parametrize(
    "text", ["a\nb", "a\r\nb", "a\rb", "a\tb", "a\u2028b", "a\u2029b"], ids=ascii
)
def test_a_line_is_one_line(text: str) -> None:
    """Where several are allowed there is one kind of line break."""
    for kind, _ in LINES.values():
        with pytest.raises(ValidationError):
            kept(kind, text)
    for kind, _ in SEVERAL_LINES.values():
        assert kept(kind, text) == text.replace("\r\n", "\n").replace("\r", "\n")


@pytest.mark.parametrize(
    ("text", "as_kept"),
    [
        ("  a b \n", "a b"),
        ("e\u0301", "é"),
        ("\u1100\u1161", "가"),
        ("<script>alert(1)</script>", "<script>alert(1)</script>"),
        ("a & b &amp; c", "a & b &amp; c"),
        ("שלום, \u200fworld\u200e", "שלום, \u200fworld\u200e"),
        ("👩\u200d👩\u200d👧", "👩\u200d👩\u200d👧"),
        ("a" + 30 * "\u0316", "a" + 30 * "\u0316"),
    ],
    ids=ascii,
)
def test_the_rest_is_kept_as_it_is(text: str, as_kept: str) -> None:
    """Composed, without white space around it, and otherwise untouched: it is text, never HTML."""
    for kind, _ in ALL.values():
        if len(text) <= texts.DISPLAY_NAME_LENGTH_MAX:
            assert kept(kind, text) == as_kept


def test_what_grows_when_it_is_composed_keeps_to_the_limit() -> None:
    """A few characters are two in their composed form."""
    grows = "\u0958" * texts.TITLE_LENGTH_MAX
    assert len(unicodedata.normalize("NFC", grows)) == 2 * len(grows)

    with pytest.raises(ValidationError):
        kept(texts.Title, grows)


@given(TEXTS)
def test_what_is_kept_keeps_every_rule(text: str) -> None:
    """Whatever is sent is refused, or kept in a form that is kept again as it is."""
    for name, (kind, length_max) in ALL.items():
        try:
            value = kept(kind, text)
        except ValidationError:
            continue

        allowed = "" if name in LINES else "\n\t"
        assert 0 < len(value) <= length_max
        assert unicodedata.is_normalized("NFC", value)
        assert value == value.strip()
        assert not any(unicodedata.category(c) == "Cc" and c not in allowed for c in value)
        assert not set(value) & set(TURNING)
        assert any(unicodedata.category(c)[0] not in "ZCM" for c in value)
        assert kept(kind, value) == value


def test_no_text_costs_more_than_some_milliseconds() -> None:
    """Composing marks in a row takes time with the square of their number."""
    hostile = ["a" + "\u0301\u0323" * 9_999, "é" * 20_000, "a\u0301" * 10_000, " " * 19_999 + "x"]

    for text in hostile:
        started = time.thread_time()
        with suppress(ValidationError):
            kept(texts.PostText, text)
        assert time.thread_time() - started < 0.1


def test_the_longest_post_fits_into_a_body_in_any_spelling() -> None:
    """What the limit allows is not refused because of how it was written down."""
    body_bytes_max = ApiSettings.model_fields["body_bytes_max"].default
    longest = {"title": "字" * texts.TITLE_LENGTH_MAX, "body": "字" * texts.POST_LENGTH_MAX}

    escaped = json.dumps(longest).encode()
    assert strict_json(escaped) == longest
    assert len(escaped) <= body_bytes_max
    assert len(("🐘" * texts.POST_LENGTH_MAX).encode()) <= body_bytes_max


@pytest.mark.parametrize(
    "url",
    [
        "https://example.org",
        "https://example.org/a/b.png?size=2&x=%20#top",
        "https://img.example:8443/~ada/(1).png",
        "https://[2001:db8::1]/a.png",
        "https://xn--bcher-kva.example/",
    ],
)
def test_addresses_of_pictures(url: str) -> None:
    """What a browser can fetch safely is kept as it is."""
    assert kept(texts.AvatarUrl, url) == url


@pytest.mark.parametrize(
    "url",
    [
        "http://example.org/a.png",
        "HTTPS://example.org/a.png",
        "javascript:alert(1)",
        "data:image/svg+xml,<svg onload=alert(1)>",
        "//example.org/a.png",
        "https://",
        "https:///a.png",
        "https://user:secret@example.org/",
        "https://example.org:99999/",
        "https://example.org:0/",
        "https://[::1/",
        "https://bücher.example/",
        "https://example.org/a b",
        'https://example.org/"onerror="alert(1)',
        "https://example.org/<script>",
        "https://example.org\\@evil.example/",
        "https://example.org/\n",
        " https://example.org/",
        "https://example.org/" + 500 * "a",
        "",
    ],
)
def test_no_other_address_is_taken(url: str) -> None:
    """Nothing that runs, leaks a password, or breaks out of an attribute."""
    with pytest.raises(ValidationError):
        kept(texts.AvatarUrl, url)
