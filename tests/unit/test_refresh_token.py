"""The form of a refresh token, and the verdict on one in its session."""

from dataclasses import replace
from datetime import timedelta
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auth_service.secrets import Secrets
from auth_service.sessions.model import Limits, NewSession, Session, Verdict, judge
from auth_service.sessions.refresh_token import InvalidGrant, make_refresh_token, read_refresh_token
from tests.support.builders import NOON
from tests.support.refusals import refusal

SECRET = b"the secret of these tests, and of nothing else"
SECRETS = Secrets(SECRET)
ID = UUID("11111111-2222-4333-8444-555555555555")
TOKEN = make_refresh_token(SECRETS, ID, 7)
ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
LIMITS = Limits(
    idle=timedelta(days=14), absolute=timedelta(days=30), grace=timedelta(seconds=10), per_user=50
)
SESSION = Session(
    id=ID,
    user_id=uuid4(),
    counter=7,
    created_at=NOON,
    refreshed_at=NOON,
    ended_at=None,
    authenticated_at=NOON,
    user_agent=None,
)

AT_ONCE, INSTANT = timedelta(0), timedelta(microseconds=1)


class TestForm:
    """``rt_`` and base64url of id, counter and HMAC."""

    @given(session_id=st.uuids(), counter=st.integers(0, 2**31 - 1))
    def test_what_was_made_is_read(self, session_id: UUID, counter: int) -> None:
        token = make_refresh_token(SECRETS, session_id, counter)
        assert read_refresh_token(SECRETS, token) == (session_id, counter)
        assert make_refresh_token(SECRETS, session_id, counter) == token

    def test_no_character_of_it_can_be_changed(self) -> None:
        """Every other character in every position is refused, even in the unused last bits."""
        others = [
            TOKEN[:n] + character + TOKEN[n + 1 :]
            for n, own in enumerate(TOKEN)
            for character in ALPHABET
            if character != own
        ]

        for other in others:
            refusal(InvalidGrant, read_refresh_token, SECRETS, other)
        assert len(others) > 4_000

    def test_what_was_not_made_here_is_refused(self) -> None:
        """Another length, other characters, nothing at all: one error, at once."""
        for token in (
            *("", "rt_", "rt_" * 1_000_000),
            *(TOKEN.removeprefix("rt_"), TOKEN[:-1], " " + TOKEN[1:]),
            *(TOKEN + after for after in ("A", "==", "\n")),
            *("rt_" + letter * 70 for letter in "éA\ud800"),
        ):
            refusal(InvalidGrant, read_refresh_token, SECRETS, token)

    def test_another_secret_or_purpose_makes_no_token(self) -> None:
        """Access to the database, or to the key for API keys, is not enough."""
        others = [Secrets(b"another secret of thirty-two bytes"), _OtherPurpose(SECRET)]
        for other in others:
            token = make_refresh_token(other, ID, 7)
            refusal(InvalidGrant, read_refresh_token, SECRETS, token)

    def test_a_token_of_the_previous_secret_is_read(self) -> None:
        """The secret can be changed without signing everybody out."""
        changed = Secrets(b"the next secret, long enough as well", SECRET)
        assert read_refresh_token(changed, TOKEN) == (ID, 7)
        assert make_refresh_token(changed, ID, 7) != TOKEN


class TestWorth:
    """``judge``: the next one, a repetition, a reuse, or one of an ended session."""

    def test_by_counter_and_time(self) -> None:
        """One step behind is accepted in the grace period; anything else is in two hands."""
        for counter, after, verdict in (
            *((7, after, Verdict.NEXT) for after in (AT_ONCE, timedelta(days=13))),
            *((6, -INSTANT, Verdict.REPEATED), (6, AT_ONCE, Verdict.REPEATED)),
            *((6, LIMITS.grace - INSTANT, Verdict.REPEATED), (6, LIMITS.grace, Verdict.REUSED)),
            (6, -timedelta(days=1), Verdict.REUSED),  # the clock was set back
            *((counter, AT_ONCE, Verdict.REUSED) for counter in (5, 0, 8, 2**32 - 1)),
        ):
            assert judge(SESSION, counter, now=NOON + after, limits=LIMITS) is verdict, counter

    @pytest.mark.parametrize("after", [-INSTANT, timedelta(0), timedelta(seconds=1)])
    def test_without_a_grace_period_every_repetition_is_a_reuse(self, after: timedelta) -> None:
        """Even one that waited for the row, and so seems older than what it repeats."""
        limits = replace(LIMITS, grace=timedelta(0))
        assert judge(SESSION, 6, now=NOON + after, limits=limits) is Verdict.REUSED

    @pytest.mark.parametrize("counter", [5, 6, 7, 8])
    def test_an_ended_session_has_no_valid_token(self, counter: int) -> None:
        """Ended, idle for too long, or too old: none of its tokens refreshes it."""
        idle = NOON + LIMITS.idle
        old = replace(SESSION, refreshed_at=NOON + LIMITS.absolute - INSTANT)
        ended = replace(SESSION, ended_at=NOON)

        assert judge(ended, counter, now=NOON, limits=LIMITS) is Verdict.OVER
        assert judge(SESSION, counter, now=idle, limits=LIMITS) is Verdict.OVER
        assert judge(SESSION, counter, now=idle - INSTANT, limits=LIMITS) is not Verdict.OVER
        assert judge(old, counter, now=NOON + LIMITS.absolute, limits=LIMITS) is Verdict.OVER


def test_a_user_agent_is_cut_and_without_control_characters() -> None:
    """Users, and operators' terminals, are shown plain text of bounded length."""
    for sent, kept in (
        *((None, None), ("", None), (" \t\r\n", None), ("Firefox", "Firefox")),
        ("Fire\x00\x1b[31mfox\x7f\x85", "Fire[31mfox"),
        ("x" * 10_000, "x" * 256),
        ("\x01" * 10_000 + "x" * 300, "x" * 256),
        ("é" * 300, "é" * 256),
    ):
        assert NewSession.on(sent).user_agent == kept, sent


class _OtherPurpose(Secrets):
    """The same secret, used for another purpose."""

    def mac(self, purpose: str, message: bytes) -> bytes:
        return super().mac(f"not {purpose}", message)
