"""Certificates: their chain, thinning, agreement, and every fault that verifying finds."""

import base64
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.sync.certificate import FULL, HOURLY, TYPE, Signed, hour_of
from contracts.tokens import InvalidToken, TokenVerifier
from contracts.tokens.keys import jwks
from replica.certificates.agreement import Agreement, Mark, agreement, summary
from replica.certificates.thin import Place, superfluous
from replica.certificates.verify import Expected, Fault, Stored, verify
from tests.support.builders import NOON
from tests.support.certificates import (
    BEFORE,
    CONSUMER,
    SOURCE,
    Issuer,
    a_key,
    a_signer,
    keys_of,
    kid_of,
    stored,
)

KEYS = Expected(keys_of(a_key()))
HOUR = 3600.0
DAY = 24 * HOUR

GAPS = st.lists(
    st.sampled_from([45.0, 60.0, 90.0, 900.0, HOUR, 5 * HOUR, DAY, 12 * DAY, 40 * DAY, -2 * HOUR]),
    max_size=30,
)
"""Seconds between certificates; a negative one is a clock that was set back."""


def thinned(chain: Sequence[Signed]) -> list[Signed]:
    places = [
        Place(at, each.certificate.number, each.certificate.time) for at, each in enumerate(chain)
    ]
    old = superfluous(places)
    return [each for at, each in enumerate(chain) if at not in old]


def marks_of(chain: Sequence[Signed]) -> list[Mark]:
    said = [each.certificate for each in chain]
    return [Mark(one.number, one.time, one.proved_microseconds) for one in said]


def faults(chain: Sequence[Stored], expected: Expected = KEYS) -> list[Fault]:
    return [finding.fault for finding in verify(chain, expected).findings]


class TestChain:
    """A source that keeps nothing extends the chain from the last certificate alone."""

    def test_a_certificate_names_the_last_of_the_hour_and_of_the_day_before(self) -> None:
        issuer = Issuer(at=hour_of(NOON))
        first, second = issuer.issue(10), issuer.issue(10)
        third, fourth = issuer.issue(HOUR), issuer.issue(10)
        fifth = issuer.issue(DAY)

        said = [each.certificate for each in (first, second, third, fourth, fifth)]
        names = [(one.previous, one.hour, one.day) for one in said]
        assert names == [
            (None, None, None),
            (first.hash, None, None),
            (second.hash, second.hash, None),
            (third.hash, second.hash, None),
            (fourth.hash, fourth.hash, fourth.hash),
        ]
        assert [one.number for one in said] == [1, 2, 3, 4, 5]

    def test_only_time_between_certificates_close_together_is_proved(self) -> None:
        """Not a gap, not time in which users differed, and not a clock that was set back."""
        issuer = Issuer()
        issuer.issue()
        found = [issuer.issue(120), issuer.issue(121), issuer.issue(60, is_unbroken=False)]
        found += [issuer.issue(-30), issuer.issue(60)]
        proved = [each.certificate.proved_microseconds / 1e6 for each in found]
        assert proved == [120, 120, 120, 120, 180]

    def test_no_verifier_takes_one_for_a_token_or_a_token_for_one(self) -> None:
        """They have the same signer and different types."""
        signer = a_signer(a_key())
        keys = jwks(a_key().public_key())
        verifier = TokenVerifier.from_jwks(keys, issuer="https://auth.example", audience="blog")

        with pytest.raises(InvalidToken) as refused:
            verifier.verify(Issuer().issue().text)
        with pytest.raises(ValueError, match=re.escape(TYPE)):
            Signed.read(signer.for_service("svc_blog", []))
        assert refused.value.reason == "typ is not at+jwt"

    def test_it_is_small(self) -> None:
        """With keys of 3,072 bits it grows by a sixth."""
        issuer = Issuer()
        issuer.chain(2)
        assert len(issuer.issue(DAY).text) < 1_600


class TestThinning:
    """All of a day, one an hour for a month, one a day after that."""

    @settings(max_examples=60, deadline=None)
    @given(gaps=GAPS)
    def test_a_thinned_chain_verifies(self, gaps: list[float]) -> None:
        """However often it is thinned, and even if the clock was set back."""
        issuer, often = Issuer(), list[Signed]()
        whole = [issuer.issue(gap) for gap in gaps]
        for each in whole:
            often = thinned([*often, each])
        once = thinned(whole)

        assert [each.hash for each in often] == [each.hash for each in once]
        assert thinned(once) == once
        assert faults(stored(whole)) == faults(stored(once)) == []
        assert once[-1:] == whole[-1:]

    @settings(max_examples=40, deadline=None)
    @given(gaps=GAPS, data=st.data())
    def test_leaving_one_out_of_a_thinned_chain_is_found(
        self, gaps: list[float], data: st.DataObject
    ) -> None:
        """Except the newest: that takes a second witness."""
        issuer = Issuer()
        chain = thinned([issuer.issue(gap) for gap in [60.0, *gaps]])
        last = chain[-1].hash
        at = data.draw(st.integers(0, len(chain) - 1))
        left = [*chain[:at], *chain[at + 1 :]]

        witnessed = faults(stored(left), replace(KEYS, newest=last))
        assert Fault.CUT_OFF in witnessed if at == len(chain) - 1 else witnessed
        if at < len(chain) - 1:
            assert faults(stored(left)) == [Fault.LEFT_OUT]

    @settings(max_examples=40, deadline=None)
    @given(gaps=GAPS)
    def test_the_agreement_stays_the_same(self, gaps: list[float]) -> None:
        """Between any two certificates that are left."""
        gaps = [abs(gap) for gap in gaps]
        issuer = Issuer()
        whole = [issuer.issue(gap) for gap in [60.0, *gaps]]
        left = marks_of(thinned(whole))
        begin, end = left[0].time, left[-1].time
        assert agreement(left, begin, end) == agreement(marks_of(whole), begin, end)

    def test_what_is_left_of_half_a_year(self) -> None:
        """A certificate every twenty minutes for 200 days."""
        times = [NOON + timedelta(minutes=20 * n) for n in range(200 * 24 * 3)]
        places = [Place(at, at + 1, time) for at, time in enumerate(times)]
        old = set(superfluous(places))
        ages = [times[-1] - place.time for place in places if place.id not in old]

        assert sum(age <= FULL for age in ages) == 3 * 24 + 1
        assert sum(FULL < age <= HOURLY for age in ages) == pytest.approx(30 * 24, abs=4)
        assert 168 <= sum(age > HOURLY for age in ages) <= 169 + 24  # days are thinned whole


def _altered(chain: list[Signed]) -> list[Stored]:
    """Claim more than was proved; the signature stays."""
    header, payload, signature = chain[2].text.split(".")
    claims = json.loads(base64.urlsafe_b64decode(payload + "=="))
    changed = json.dumps(claims | {"proved_microseconds": 10**9}).encode()
    text = ".".join((header, base64.urlsafe_b64encode(changed).rstrip(b"=").decode(), signature))
    return [*stored(chain[:2]), Stored(text), *stored(chain[3:])]


def _inserted(**said: Any) -> Callable[[list[Signed]], list[Stored]]:
    def change(chain: list[Signed]) -> list[Stored]:
        other = Issuer(at=NOON, last=chain[1]).issue(150, **said)
        return stored([*chain[:2], other, *chain[2:]])

    return change


def _restarted(chain: list[Signed]) -> list[Stored]:
    return stored([*chain, *Issuer(at=chain[-1].certificate.time).chain(2)])


def _of_unknown_key(chain: list[Signed]) -> list[Stored]:
    issuer = Issuer(at=chain[-1].certificate.time, key=a_key(1), last=chain[-1])
    return stored([*chain, issuer.issue()])


def _beside(chain: list[Signed]) -> list[Stored]:
    said = [each.certificate for each in chain]
    rows = [
        Stored(each.text, (one.number, one.time, one.proved_microseconds))
        for each, one in zip(chain, said, strict=True)
    ]
    number, time, _ = rows[-1].figures or (0, NOON, 0)
    return [*rows[:-1], replace(rows[-1], figures=(number, time, 10**9))]


FAULTS: dict[str, tuple[Callable[[list[Signed]], list[Stored]], Fault, str]] = {
    "altered": (_altered, Fault.ALTERED, "was altered: its signature does not match"),
    "cut in half": (
        lambda chain: [Stored(chain[0].text[:90]), *stored(chain[1:])],
        Fault.MALFORMED,
        "cannot be read: not a JWS in compact form",
    ),
    "other encoding": (
        lambda chain: [*stored(chain[:-1]), Stored(f"{chain[-1].text}=")],
        Fault.MALFORMED,
        "cannot be read: invalid base64url",
    ),
    "left out": (
        lambda chain: stored([*chain[:2], *chain[3:]]),
        Fault.LEFT_OUT,
        "certificate 4 (2026-01-01 12:04:00Z) does not follow certificate 2",
    ),
    "the first left out": (
        lambda chain: stored(chain[1:]),
        Fault.LEFT_OUT,
        "earlier ones were left out",
    ),
    "reordered": (
        lambda chain: stored([chain[0], chain[2], chain[1], *chain[3:]]),
        Fault.REORDERED,
        "stands after certificate 3, and was issued before it",
    ),
    "the first reordered": (
        lambda chain: stored([chain[1], chain[0], *chain[2:]]),
        Fault.REORDERED,
        "stands after certificate 2, and was issued before it",
    ),
    "repeated": (lambda chain: stored([*chain, chain[1]]), Fault.REPEATED, "is there twice"),
    "of another source": (
        _inserted(source="00000000-0000-0000-0000-00000000000b"),
        Fault.OTHER_SOURCE,
        f"is of the source 00000000-0000-0000-0000-00000000000b, not of {SOURCE}",
    ),
    "of another replica": (
        _inserted(consumer="svc_shop"),
        Fault.OTHER_CONSUMER,
        f"is of the replica svc_shop, not {CONSUMER}",
    ),
    "of an unknown key": (_of_unknown_key, Fault.UNKNOWN_KEY, "a key that is not known"),
    "a new chain": (_restarted, Fault.RESTARTED, "begins a new chain"),
    "other figures beside it": (_beside, Fault.OTHER_FIGURES, "is stored beside it"),
}


REVOKED = Expected(keys_of(a_key(), state="revoked", revoked_at=NOON))
REVOKED_HERE = replace(KEYS, revoked={kid_of(a_key())})
RETIRED = Expected(keys_of(a_key(), state="retired", signs_until=NOON))
TOO_NEW = Expected(keys_of(a_key(), created_at=NOON + timedelta(hours=1)))


class TestVerify:
    """Each fault is found, once, with its own sentence."""

    def test_a_chain_verifies(self) -> None:
        chain = Issuer().chain(5)
        found = verify(stored(chain), KEYS)

        assert (found.certificates, found.findings, found.notes) == (5, [], [])
        assert (found.first, found.last) == (chain[0], chain[-1])
        assert found.agreement == Agreement(
            1.0, chain[0].certificate.time, chain[-1].certificate.time
        )

    @pytest.mark.parametrize("name", FAULTS)
    def test_every_fault_is_found(self, name: str) -> None:
        change, fault, sentence = FAULTS[name]
        [finding] = verify(change(Issuer().chain(5)), KEYS).findings
        assert finding.fault is fault
        assert sentence in finding.text

    def test_keys_and_replica_must_be_right(self) -> None:
        """What such a key signed proves nothing, so nothing is agreed."""
        for expected, fault, sentence in (
            (REVOKED, Fault.REVOKED_KEY, "was revoked at 2026-01-01 12:00:00Z: it proves nothing"),
            (REVOKED_HERE, Fault.REVOKED_KEY, "was revoked: it proves nothing"),
            (RETIRED, Fault.KEY_NOT_IN_USE, "was not in use at its time"),
            (TOO_NEW, Fault.KEY_NOT_IN_USE, "was not in use at its time"),
            (replace(KEYS, consumer="svc_shop"), Fault.OTHER_CONSUMER, "not svc_shop"),
        ):
            found = verify(stored(Issuer().chain(3)), expected)

            assert [finding.fault for finding in found.findings] == [fault] * 3, expected
            assert sentence in found.findings[0].text, expected
            assert found.agreement is None or found.agreement.ratio == 0, expected

    def test_a_retired_key_verifies_what_it_signed_in_its_time(self) -> None:
        """A chain goes on with the next key."""
        issuer = Issuer()
        chain = issuer.chain(3)
        issuer.key = a_key(1)
        chain += issuer.chain(3)
        retired = keys_of(a_key(), state="retired", signs_until=chain[2].certificate.time)
        both = retired.model_copy(update={"keys": [*retired.keys, *keys_of(a_key(1)).keys]})

        assert faults(stored(chain), Expected(both)) == []

    def test_a_stretch_of_time_verifies_alone(self) -> None:
        """What came before is not missed, and what is outside is not judged."""
        chain = Issuer().chain(9)
        broken = [*stored(chain[:1]), *stored(chain[2:7]), *stored(chain[8:])]
        since, until = chain[3].certificate.time, chain[6].certificate.time
        found = verify(broken, KEYS, since=since, until=until)
        assert (found.certificates, found.findings) == (3, [])
        assert faults(broken) == [Fault.LEFT_OUT] * 2

    def test_a_clock_that_was_set_back_is_a_note(self) -> None:
        """The source signed both times: nobody forged anything."""
        issuer = Issuer()
        found = verify(stored([*issuer.chain(2), issuer.issue(-HOUR), *issuer.chain(2)]), KEYS)
        assert found.findings == []
        assert found.notes == ["the source's clock was set back between certificates 2 and 3"]

    def test_what_was_cut_off_is_found_with_a_second_witness(self) -> None:
        """The hash of a later certificate, from the source's log."""
        chain = Issuer().chain(4)
        cut = stored(chain[:3])
        assert faults(cut) == []
        assert faults(cut, replace(KEYS, newest=chain[2].hash)) == []
        assert faults(cut, replace(KEYS, newest=chain[3].hash)) == [Fault.CUT_OFF]

    def test_nothing_verifies_nothing(self) -> None:
        found = verify([], KEYS)
        assert (found.certificates, found.findings, found.agreement) == (0, [], None)


def a_chain(*steps: tuple[float, float]) -> list[Mark]:
    """Return marks from seconds since the one before, and how many of them were proved."""
    at, proved, marks = NOON, 0.0, [Mark(1, NOON, 0)]
    for number, (seconds, counted) in enumerate(steps, start=2):
        at, proved = at + timedelta(seconds=seconds), proved + counted
        marks.append(Mark(number, at, round(proved * 1e6)))
    return marks


def later(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


MINUTES = a_chain(*[(60, 60)] * 10)
NEW_CHAIN = [*MINUTES, replace(MINUTES[0], time=later(2400))]
HALF_REVOKED = [replace(each, counts=each.number > 6) for each in MINUTES]


class TestAgreement:
    """The share of time in which the replica was proved equal."""

    def test_time_that_is_not_proved_counts(self) -> None:
        gap = a_chain((60, 60), (240, 0))
        for why, marks, since, until, ratio in (
            ("all of it", MINUTES, 0, 600, 1.0),
            ("between certificates", MINUTES, 90, 510, 1.0),
            ("from the first certificate on", MINUTES, -600, 600, 1.0),
            ("the next certificate may come yet", MINUTES, 0, 720, 1.0),
            ("the next certificate is overdue", MINUTES, 0, 800, 600 / 800),
            *(("a gap", gap, 0, 300, 0.2), ("part of it", gap, 30, 300, 30 / 270)),
            ("pessimistic", a_chain((3600, 3000)), 1800, 3600, 1200 / 1800),
            ("set back", a_chain((60, 60), (-60, 0), (60, 60)), 0, 60, 1.0),
            ("a new chain", NEW_CHAIN, 0, 2400, 600 / 2400),
            ("revoked", HALF_REVOKED, 0, 600, 0.4),
        ):
            found = agreement(marks, later(since), later(until))
            assert found is not None, why
            assert found.ratio == pytest.approx(ratio), why

    def test_one_certificate_says_nothing_about_time(self) -> None:
        assert agreement(MINUTES[:1], BEFORE, later(60)) is None
        assert agreement([], BEFORE, NOON) is None

    def test_the_text_never_says_more_than_was_proved(self) -> None:
        """Digits are cut, not rounded."""
        for ratio, text in (
            (1.0, "100 %"),
            (0.99999999, "99.999999 % (8 nines)"),
            *((0.9999, "99.99 % (4 nines)"), (0.99989, "99.989 % (3 nines)")),
            *((0.999, "99.9 % (3 nines)"), (0.95, "95 %"), (0.0, "0 %")),
        ):
            assert Agreement(ratio, NOON, later(60)).text == text, ratio

    def test_the_status_has_every_window(self) -> None:
        """A line for people, and figures; before the second certificate it says so."""
        found = summary(a_chain((7200, 0), *[(60, 60)] * 60), later(10_800))

        assert found["text"] == (
            "agreement: 100 % of the last hour, 33.33 % of the last day,"
            " 33.33 % of the last 30 days"
        )
        assert found["hour"]["ratio"] == 1.0
        assert (found["hour"]["nines"], found["day"]["nines"]) == (None, 0)
        assert found["certified_at"] == later(10_800)
        assert summary([], NOON)["text"] == "agreement: not known yet"
