"""Verify a chain of certificates with public keys alone. Pure.

Found are certificates that were altered, left out, put into another order or repeated; that are
another source's or another replica's; that are signed by a key that is unknown or revoked, or that
was not in use then. A certificate that was deleted because of its age (``thin``) is not missed.

Not found, for nothing in a chain can show it: that the newest certificates were cut off. The source
logs the hash of each certificate that it issues; ``newest`` compares with that.

Not here: where certificates and keys come from (``commands``).
"""

import bisect
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from itertools import pairwise
from typing import Final

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from contracts.sync.certificate import Signed, hash_of
from contracts.sync.certificate_keys import CertificateKey, CertificateKeys
from replica.certificates.agreement import Agreement, Mark, agreement
from replica.certificates.thin import BEFORE_ALL, day_is_thinned, hour_is_thinned
from service_kit.process.times import time_text


class Fault(StrEnum):
    """What is wrong with a certificate or its place."""

    MALFORMED = "malformed"
    ALTERED = "altered"
    UNKNOWN_KEY = "unknown_key"
    REVOKED_KEY = "revoked_key"
    KEY_NOT_IN_USE = "key_not_in_use"
    OTHER_SOURCE = "other_source"
    OTHER_CONSUMER = "other_consumer"
    OTHER_FIGURES = "other_figures"
    REPEATED = "repeated"
    REORDERED = "reordered"
    LEFT_OUT = "left_out"
    RESTARTED = "restarted"
    CUT_OFF = "cut_off"


_WITHOUT_A_PLACE: Final = {
    Fault.ALTERED,
    Fault.OTHER_SOURCE,
    Fault.OTHER_CONSUMER,
    Fault.REPEATED,
}
"""Such a certificate is not compared with its neighbours."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One fault, with the number of the certificate, if that can be read, and a sentence."""

    fault: Fault
    number: int | None
    text: str


@dataclass(frozen=True, slots=True)
class Stored:
    """A certificate as it was stored.

    ``figures`` are the number, time and proved microseconds in columns beside it, if there are any:
    the status is computed from these.
    """

    text: str
    figures: tuple[int, datetime, int] | None = None


@dataclass(frozen=True, slots=True)
class Verification:
    """The result: ``certificates`` were verified, and ``findings`` are the faults."""

    certificates: int
    first: Signed | None
    last: Signed | None
    findings: Sequence[Finding]
    notes: Sequence[str]
    agreement: Agreement | None


@dataclass(frozen=True, slots=True)
class Expected:
    """What certificates have to be.

    Parameters:
        keys: of the source, with its identity.
        revoked: ids of keys that are known to be revoked, also without ``keys``.
        consumer: the replica's service account; None: that of the first certificate.
        newest: the hash of the newest certificate, as the source logged it; None: not known.
    """

    keys: CertificateKeys
    revoked: Collection[str] = ()
    consumer: str | None = None
    newest: str | None = None


@dataclass(frozen=True, slots=True)
class _Placed:
    """A certificate with a place in the chain.

    ``counts`` is False if something is wrong with it, ``after_gap`` is True if the one before it
    cannot be read or was altered.
    """

    signed: Signed
    counts: bool
    after_gap: bool

    @property
    def number(self) -> int:
        """Its number in the chain."""
        return self.signed.certificate.number


def verify(
    stored: Sequence[Stored],
    expected: Expected,
    *,
    since: datetime | None = None,
    until: datetime | None = None,
) -> Verification:
    """Verify certificates in the order in which they were stored.

    Parameters:
        stored: the certificates.
        expected: what they have to be.
        since: only those of this time or later; what came before is not missed.
        until: only those before this time.
    """
    read = [_read(each) for each in stored]
    readable = [each for each in read if isinstance(each, Signed)]
    newest = max((each.certificate.time for each in readable), default=BEFORE_ALL)
    keys = {key.kid: (key, key.public_key()) for key in expected.keys.keys}
    consumer = expected.consumer or (readable[0].certificate.consumer if readable else None)
    findings: list[Finding] = []
    placed: list[_Placed] = []
    seen: set[str] = set()
    after_gap = False
    for raw, each in zip(stored, read, strict=True):
        if isinstance(each, Finding):
            findings.append(each)
            after_gap = True
        elif _is_between(each.certificate.time, since, until):
            faults = list(_own_faults(raw, each, keys, expected, consumer))
            if each.hash in seen:
                faults.append(_of(each, Fault.REPEATED, "is there twice"))
            seen.add(each.hash)
            findings += faults
            kinds = {finding.fault for finding in faults}
            after_gap = after_gap or Fault.ALTERED in kinds
            if not kinds & _WITHOUT_A_PLACE:
                placed.append(_Placed(each, not faults, after_gap))
                after_gap = False
    ordered = _in_order(placed, newest, findings)
    findings += _missing_links(ordered, newest, is_whole=since is None)
    if expected.newest is not None and expected.newest not in seen:
        what = (
            f"the certificate with the hash {expected.newest} is not there: newer ones were cut off"
        )
        findings.append(Finding(Fault.CUT_OFF, None, what))
    return _result(ordered, findings, since, until)


def _read(stored: Stored) -> Signed | Finding:
    try:
        return Signed.read(stored.text)
    except ValueError as error:
        what = f"the certificate with the hash {hash_of(stored.text)} cannot be read: {error}"
        return Finding(Fault.MALFORMED, None, what)


def _is_between(time: datetime, since: datetime | None, until: datetime | None) -> bool:
    return (since is None or time >= since) and (until is None or time < until)


def _own_faults(
    stored: Stored,
    signed: Signed,
    keys: Mapping[str, tuple[CertificateKey, RSAPublicKey]],
    expected: Expected,
    consumer: str | None,
) -> Iterator[Finding]:
    """Find what is wrong with one certificate, apart from its place."""
    said, kid = signed.certificate, signed.key_id
    if said.source != expected.keys.source:
        yield _of(
            signed,
            Fault.OTHER_SOURCE,
            f"is of the source {said.source}, not of {expected.keys.source}",
        )
        return
    if kid not in keys:
        yield _of(signed, Fault.UNKNOWN_KEY, f"is signed by {kid}, a key that is not known")
        return
    key, public_key = keys[kid]
    if not signed.is_signed_by(public_key):
        yield _of(signed, Fault.ALTERED, "was altered: its signature does not match")
        return
    if said.consumer != consumer:
        yield _of(
            signed, Fault.OTHER_CONSUMER, f"is of the replica {said.consumer}, not {consumer}"
        )
    if key.state == "revoked" or kid in expected.revoked:
        at = f" at {time_text(key.revoked_at)}" if key.revoked_at else ""
        text = f"is signed by {kid}, which was revoked{at}: it proves nothing"
        yield _of(signed, Fault.REVOKED_KEY, text)
    if said.time < key.created_at or (key.signs_until and said.time > key.signs_until):
        yield _of(
            signed, Fault.KEY_NOT_IN_USE, f"is signed by {kid}, which was not in use at its time"
        )
    figures = (said.number, said.time, said.proved_microseconds)
    if stored.figures is not None and stored.figures != figures:
        text = "does not say what is stored beside it: the agreement in the status is wrong"
        yield _of(signed, Fault.OTHER_FIGURES, text)


def _of(signed: Signed, fault: Fault, text: str) -> Finding:
    said = signed.certificate
    return Finding(fault, said.number, f"certificate {said.number} ({time_text(said.time)}) {text}")


def _in_order(
    placed: Iterable[_Placed], newest: datetime, findings: list[Finding]
) -> list[_Placed]:
    """Put those that were moved back into their place, and report them."""
    ended: list[_Placed] = []
    chain: list[_Placed] = []
    for each in placed:
        if not chain or each.number > chain[-1].number:
            chain.append(each)
        elif _begins(each.signed, newest) and not _is_named(each, chain):
            ended += chain
            chain = [each]
        else:
            text = f"stands after certificate {chain[-1].number}, and was issued before it"
            findings.append(_of(each.signed, Fault.REORDERED, text))
            bisect.insort(chain, each, key=lambda one: one.number)
    return ended + chain


def _missing_links(
    ordered: Sequence[_Placed], newest: datetime, *, is_whole: bool
) -> Iterator[Finding]:
    """Find certificates that do not name the one before them."""
    if ordered and is_whole and not ordered[0].after_gap and not _begins(ordered[0].signed, newest):
        text = "is the first that is there, and names one before it: earlier ones were left out"
        yield _of(ordered[0].signed, Fault.LEFT_OUT, text)
    for one, other in pairwise(ordered):
        if other.after_gap or _follows(other.signed, one.signed, newest):
            continue
        if _begins(other.signed, newest):
            text = "begins a new chain: the source did not continue the one before"
            yield _of(other.signed, Fault.RESTARTED, text)
        else:
            text = f"does not follow certificate {one.number}: what was between was left out"
            yield _of(other.signed, Fault.LEFT_OUT, text)


def _follows(other: Signed, one: Signed, newest: datetime) -> bool:
    """Whether a certificate names ``one``; by hour or day only if those between were thinned."""
    said, name = other.certificate, one.hash
    return (
        said.previous == name
        or (said.hour == name and hour_is_thinned(said.time, newest))
        or (said.day == name and day_is_thinned(said.time, newest))
    )


def _begins(signed: Signed, newest: datetime) -> bool:
    """Whether a certificate is the first of a chain that was not thinned away."""
    said = signed.certificate
    return (
        said.previous is None
        or (said.hour is None and hour_is_thinned(said.time, newest))
        or (said.day is None and day_is_thinned(said.time, newest))
    )


def _is_named(each: _Placed, chain: Iterable[_Placed]) -> bool:
    return any(other.signed.certificate.previous == each.signed.hash for other in chain)


def _result(
    ordered: Sequence[_Placed],
    findings: Sequence[Finding],
    since: datetime | None,
    until: datetime | None,
) -> Verification:
    notes = [
        f"the source's clock was set back between certificates {one.number} and {other.number}"
        for one, other in pairwise(ordered)
        if other.signed.certificate.time <= one.signed.certificate.time
    ]
    marks = [
        Mark(said.number, said.time, said.proved_microseconds, each.counts)
        for each in ordered
        for said in [each.signed.certificate]
    ]
    begin, end = since, until
    if marks:
        begin, end = begin or marks[0].time, end or max(mark.time for mark in marks)
    found = agreement(marks, begin, end) if begin is not None and end is not None else None
    return Verification(
        certificates=len(ordered),
        first=ordered[0].signed if ordered else None,
        last=ordered[-1].signed if ordered else None,
        findings=findings,
        notes=notes,
        agreement=found,
    )
