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
from blog_service.invisible import remove_invisible
from blog_service.settings import ApiSettings
from service_kit.http.strict_json import strict_json
from tests.support.refusals import refusal

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
    st.sampled_from(
        "ש\u0627\u200c\u200d\ufe0f\U000e0061\U0001f3f4\U000e007f\u00ad\u2060\u1100\u115f"
    )
    | st.sampled_from(
        "ab <&\"'\\\n\r\t\x00\x07\x1b\x7f\x85\u00a0\u200b\u2028\u3164e\u0301\u0323é🐘"
    )
    | st.sampled_from(TURNING)
    | st.characters(exclude_categories=["Cs"]),
    max_size=60,
)


def kept(kind: Any, text: str) -> str:
    value: str = TypeAdapter(kind).validate_python(text)
    return value


def is_refused(kind: Any, text: str) -> None:
    refusal(ValidationError, kept, kind, text)


def test_the_limits() -> None:
    """From one character to the limit, and not one more."""
    for kind, length_max in ALL.values():
        assert kept(kind, "x") == "x"
        assert kept(kind, "é" * length_max) == "é" * length_max
        for wrong in ("", "x" * (length_max + 1), "🐘" * (length_max + 1)):
            is_refused(kind, wrong)


REFUSED = [
    *(f"a{character}b" for character in TURNING),
    *(f"a{chr(code)}b" for code in (*range(9), 11, 12, *range(14, 32), *range(127, 160))),
    *(" ", "\n\t\r\n", "\u00a0\u2003\u3000", "\u200b\u200d\ufeff", "\u2028\u2029"),
    *("\u3164\u115f\u2800\U0001d159", "\ufe0f\u034f\u17b4\U000e0100"),
    *("a" + 31 * "\u0301", "a" + 31 * "\u0489"),
    "a" + 20 * "\u0316" + "\u034f" + 20 * "\u0316",
    "a" + 20 * "\u0316" + "\u200d" + 20 * "\u0316",
]


def test_what_hides_turns_or_breaks_is_refused_everywhere() -> None:
    """Control characters, overrides, isolates, blanks of all kinds, towers of marks."""
    for kind, _ in ALL.values():
        for text in REFUSED:
            is_refused(kind, text)


def test_a_line_is_one_line() -> None:
    """Where several are allowed there is one kind of line break."""
    for text in ("a\nb", "a\r\nb", "a\rb", "a\tb", "a\u2028b", "a\u2029b"):
        for kind, _ in LINES.values():
            is_refused(kind, text)
        for kind, _ in SEVERAL_LINES.values():
            assert kept(kind, text) == text.replace("\r\n", "\n").replace("\r", "\n")


def test_the_rest_is_kept_as_it_is() -> None:
    """Composed, without white space around it, and otherwise untouched: it is text, never HTML."""
    for text, as_kept in (
        ("  a b \n", "a b"),
        ("e\u0301", "é"),
        ("\u1100\u1161", "가"),
        ("<script>alert(1)</script>", "<script>alert(1)</script>"),
        ("a & b &amp; c", "a & b &amp; c"),
        ("שלום, \u200fworld\u200e", "שלום, \u200fworld\u200e"),
        ("👩\u200d👩\u200d👧", "👩\u200d👩\u200d👧"),
        ("a" + 30 * "\u0316", "a" + 30 * "\u0316"),
    ):
        for kind, _ in ALL.values():
            if len(text) <= texts.DISPLAY_NAME_LENGTH_MAX:
                assert kept(kind, text) == as_kept, text


HIDDEN = (
    "\u200b\u200c\u200d\u2060\ufeff\u00ad\u2062"  # without width
    "\u3164\u115f\uffa0\u034f\u17b4\u180e"  # fillers, joiners and separators of scripts
    "\ufe0f\U000e0100\U000e0061\U000e0001\U000e007f"  # selectors and tags
    "\ufff9\U0001bca0\U0001d173\u206a"  # controls: of annotations, shorthand, music
)


def test_what_hides_is_taken_out() -> None:
    """Two names that look alike are the same one, and no text says more than it shows."""
    for kind, _ in ALL.values():
        for hidden in HIDDEN:
            for text in ("a{}da", "{}ada", "ada{}", "a{0}{0}d{0}a"):
                assert kept(kind, text.format(hidden)) == "ada", ascii(hidden)
            is_refused(kind, hidden)


def test_what_a_script_or_an_emoji_needs_stays() -> None:
    """Joiners, selectors, the flags made of tags, isolates that are closed."""
    for text in (
        "می\u200cخواهم",  # Persian
        "क्\u200dष",  # Devanagari, with and without a joiner
        "क्\u200cष",
        "ශ්\u200dරී ලංකා",  # Sinhala
        "نستعلیق هـ\u200d",
        "ខ្ញុំ\u200bស្រឡាញ់",  # Khmer, with a word break
        "ᠮᠣᠩᠭᠣᠯ\u180eᠠ",  # Mongolian
        "👩\u200d👩\u200d👧",
        "👩🏽\u200d🚀",
        "🏳\ufe0f\u200d🌈",
        "❤\ufe0f\u200d🔥",
        "🧑\u200d⚕\ufe0f",
        "1\ufe0f\u20e3 #\ufe0f\u20e3",
        "☎\ufe0e",
        "葛\U000e0100",  # an ideograph's variant
        *(
            "\U0001f3f4" + "".join(chr(0xE0000 + ord(c)) for c in region) + "\U000e007f"
            for region in ("gbeng", "gbsct", "gbwls")
        ),
        "שלום \u2066Ada\u2069!",
        "\u2067שלום\u2069 Ada",
        "\u2068مرحبا \u2066Ada\u2069\u2069",
        "שלום \u200eAda\u200f \u061c",
    ):
        for kind, _ in ALL.values():
            assert kept(kind, text) == unicodedata.normalize("NFC", text).strip(), text


def test_what_only_looks_needed_goes() -> None:
    """Messages in tags and selectors, and joiners that join nothing."""
    for text, as_kept in (
        ("\U0001f3f4" + "\U000e0068\U000e0069" + "\U000e007f", "\U0001f3f4"),
        ("😀" + "\ufe0f" * 5 + "\U000e0101" * 5, "😀\ufe0f"),
        ("👩\u200d", "👩"),
        ("\u200d👩", "👩"),
        ("a\u200d👩", "a👩"),
        ("می\u200c\u200cخواهم", "میخواهم"),
        ("e\u200b\u0301", "é"),
    ):
        for kind, _ in ALL.values():
            assert kept(kind, text) == as_kept, text


def test_isolates_that_are_open_or_needed_by_nothing_are_refused() -> None:
    """And overrides in any case."""
    for text in (
        *("שלום \u2066Ada", "שלום Ada\u2069", "שלום \u2069Ada\u2066", "a\u2067b\u2069c"),
        *("a \u2066b\u2069 c", "שלום \u202eAda\u202c"),
    ):
        for kind, _ in ALL.values():
            is_refused(kind, text)


def test_nobody_is_called_deleted_user() -> None:
    """However it is spelled: it is what readers see where an account was deleted."""
    for name in (
        *("deleted user", "Deleted User", "DELETED USER"),
        *("deleted  user", "deleteduser", "[deleted user]", "deleted_user.", "deleted\u00a0user"),
        *("de\u200bleted user", "de\u00adleted us\U000e0061er", "deleted user\ufe0f"),
        *("ｄｅｌｅｔｅｄ user", "𝐝𝐞𝐥𝐞𝐭𝐞𝐝 𝐮𝐬𝐞𝐫", "dеlеtеd usеr", "DЕLЕТЕD USЕR"),
        *("d3l3t3d us3r", "de1eted user", "deIeted user", "délété́d üser"),
    ):
        assert "deleted accounts" in str(refusal(ValidationError, kept, texts.DisplayName, name))
        assert kept(texts.Title, name), name


@pytest.mark.parametrize("name", ["Deleted Users Club", "undeleted user", "Lisa Deleter", "user"])
def test_other_names_are_free(name: str) -> None:
    assert kept(texts.DisplayName, name) == name


def test_what_grows_when_it_is_composed_keeps_to_the_limit() -> None:
    """A few characters are two in their composed form."""
    grows = "\u0958" * texts.TITLE_LENGTH_MAX
    assert len(unicodedata.normalize("NFC", grows)) == 2 * len(grows)
    is_refused(texts.Title, grows)


@given(TEXTS)
def test_what_is_kept_keeps_every_rule(text: str) -> None:
    """Any text is refused, or stored in a form that is stored again unchanged."""
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
        assert not set(value) & set(TURNING[:5])
        opened = sum(value.count(mark) for mark in TURNING[5:8])
        assert opened == value.count(TURNING[8])
        assert remove_invisible(value) == value
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


def test_addresses_of_pictures() -> None:
    """What a browser can fetch safely is kept as it is."""
    for url in (
        "https://example.org",
        "https://example.org/a/b.png?size=2&x=%20#top",
        "https://img.example:8443/~ada/(1).png",
        "https://[2001:db8::1]/a.png",
        "https://xn--bcher-kva.example/",
    ):
        assert kept(texts.AvatarUrl, url) == url, url


NO_ADDRESSES = """
    http://example.org/a.png HTTPS://example.org/a.png javascript:alert(1) //example.org/a.png
    https:// https:///a.png https://user:secret@example.org/ https://example.org:99999/
    https://example.org:0/ https://[::1/ https://bücher.example/ https://example.org/<script>
    https://example.org/"onerror="alert(1) https://example.org\\@evil.example/
"""
WITH_BLANKS = [
    "data:image/svg+xml,<svg onload=alert(1)>",
    "https://example.org/a b",
    "https://example.org/\n",
    " https://example.org/",
]


def test_no_other_address_is_taken() -> None:
    """Nothing that runs, leaks a password, or breaks out of an attribute."""
    for url in ("", *NO_ADDRESSES.split(), *WITH_BLANKS, "https://example.org/" + 500 * "a"):
        is_refused(texts.AvatarUrl, url)
