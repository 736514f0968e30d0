"""Turn what was recorded of a run into one log for each user, for the model to accept.

The order of the rows of one database is that of the changes. Rows of both databases are merged by
their times, which are of one clock: a change that reached the replica was committed before.
Publications have no times: each is put as late as it may have been, before its mark and before the
first change of the replica that it led to.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple
from uuid import UUID

from tests.chaos.faults import Done, FailedOver
from tests.chaos.history import Compared, Entry
from tests.chaos.tap import Publication
from tests.model.accept import Log, Observed, Seen

_UNKNOWN_VERSION: Final = -1
"""Of a state that differs from the one that was committed with its version."""

_SEEN: Final = {
    "recorded": Seen.COMMITTED,
    "marked": Seen.CONFIRMED,
    "applied": Seen.APPLIED,
    "provisioned": Seen.PROVISIONED,
    "repaired": Seen.REPAIRED,
    "buried": Seen.REPAIRED,
    "parked": Seen.PARKED,
}


LOSS_SHOWS_SECONDS: Final = 5.0
"""A purged queue loses what is ready; a consumer may still apply what it has taken before."""


UNENDED_SECONDS: Final = 5.0
"""Before its last repair, a comparison that was interrupted may have begun so early."""


@dataclass(frozen=True)
class Record:
    """Everything that was recorded of a run; entries before a failover include lost ones."""

    source: Sequence[Entry]
    replica: Sequence[Entry]
    comparisons: Sequence[Compared]
    publications: Sequence[Publication]
    done: Done
    restored: tuple[datetime, datetime] | None
    """From the beginning of ``restored`` to its end."""


class _At(NamedTuple):
    """An observation and its place: by time, and in the order of one database's rows."""

    at: datetime
    order: int
    observed: Observed


def logs(record: Record) -> tuple[dict[UUID, Log], int]:
    """Return each user's log, and how many users the model has no words for."""
    found, left_out = {}, 0
    contents = {
        (entry.user_id, entry.version): entry.content
        for entry in record.source
        if entry.what == "recorded"
    }
    published = defaultdict(list)
    for each in record.publications:
        published[each.user_id].append(each.version)
    by_user: dict[UUID, tuple[list[Entry], list[Entry]]] = defaultdict(lambda: ([], []))
    for side, entries in enumerate((record.source, record.replica)):
        for entry in entries:
            if entry.user_id is not None:
                by_user[entry.user_id][side].append(entry)
    comparisons = list(_windows([*record.comparisons, *_unended(record)]))
    for user, (source, replica) in by_user.items():
        if _is_beyond_words(source, replica):
            left_out += 1
            continue
        seen = [
            *_of_source(source, record),
            *_of_replica(replica, contents),
            *_of_failovers(source, replica, record.done),
            *_of_losses(record.done),
            *_of_comparisons(user, comparisons),
        ]
        ordered = [each.observed for each in sorted(seen, key=lambda each: each[:2])]
        lost = {entry.version for entry in source if entry.is_lost and entry.what == "recorded"}
        log = _without_repetition(ordered)
        found[user] = tuple(_with_publications(log, published[user], lost))
    return found, left_out


def _is_beyond_words(source: Sequence[Entry], replica: Sequence[Entry]) -> bool:
    """Whether a token made a row of a user that the source has lost."""
    kinds = {entry.what for entry in replica}
    is_lost = any(entry.is_lost for entry in source)
    return "removed" in kinds or ("provisioned" in kinds and is_lost) or not source


def _of_source(entries: Sequence[Entry], record: Record) -> Iterator[_At]:
    is_restored = False
    for entry in entries:
        if entry.what == "skipped":
            continue  # erased before it was published: its tombstone follows
        observed = Observed(
            _SEEN[entry.what], entry.version, bool(entry.deleted), is_urgent=bool(entry.urgent)
        )
        if record.restored and entry.what == "recorded":
            began, ended = record.restored
            if began <= entry.at <= ended:
                observed = observed._replace(what=Seen.RESTORED)
                is_restored = True
        yield _At(entry.at, entry.place, observed)
    if record.restored and not is_restored:
        yield _At(record.restored[1], 0, Observed(Seen.RESTORED))


def _of_replica(
    entries: Sequence[Entry], contents: dict[tuple[UUID | None, int | None], str | None]
) -> Iterator[_At]:
    for entry in entries:
        version = entry.version
        if entry.what in ("applied", "repaired"):
            known = contents.get((entry.user_id, version), entry.content)
            version = version if known == entry.content else _UNKNOWN_VERSION
        elif entry.what != "buried":
            version = None
        yield _At(entry.at, entry.place, Observed(_SEEN[entry.what], version, bool(entry.deleted)))


def _of_failovers(source: Sequence[Entry], replica: Sequence[Entry], done: Done) -> Iterator[_At]:
    for failover in done.failovers:
        is_source = failover.service == "auth"
        lost = [entry for entry in (source if is_source else replica) if entry.is_lost]
        if not is_source and not lost:
            continue
        behind = Seen.SOURCE_BEHIND if is_source else Seen.REPLICA_BEHIND
        over = Seen.SOURCE_FAILED_OVER if is_source else Seen.REPLICA_FAILED_OVER
        since = lost[0].at if lost else _behind_since(source, failover)
        yield _At(since, lost[0].place - 1 if lost else 0, Observed(behind))
        yield _At(_time(failover.at), 0, Observed(over))


def _behind_since(source: Sequence[Entry], failover: FailedOver) -> datetime:
    """When the standby fell behind, after the last entry that it got."""
    over = _time(failover.at)
    kept = [entry.at for entry in source if entry.at < over]
    return max([_time(failover.behind_at), *(at + timedelta(microseconds=1) for at in kept[-1:])])


def _of_losses(done: Done) -> Iterator[_At]:
    for began, ended in done.losses:
        yield _At(_time(began), 0, Observed(Seen.LOSING))
        yield _At(_time(ended + LOSS_SHOWS_SECONDS), 0, Observed(Seen.LOST))


def _unended(record: Record) -> Iterator[Compared]:
    """Yield what stands for comparisons that were interrupted after a repair."""
    for entry in record.replica:
        is_repair = entry.what in ("repaired", "buried")
        if is_repair and not any(
            each.began <= entry.at <= each.ended for each in record.comparisons
        ):
            yield Compared(
                began=entry.at - timedelta(seconds=UNENDED_SECONDS),
                ended=entry.at + timedelta(milliseconds=1),
                claims_all=False,
                kinds={},
                unrepaired=frozenset(),
                is_operators=entry.what == "buried",
            )


def _windows(comparisons: Sequence[Compared]) -> Iterator[Compared]:
    """Yield the comparisons in order; overlapping ones as one that claims nothing."""
    waiting: Compared | None = None
    for each in sorted(comparisons, key=lambda each: each.began):
        if waiting is not None and each.began <= waiting.ended:
            waiting = Compared(
                began=waiting.began,
                ended=max(waiting.ended, each.ended),
                claims_all=False,
                kinds={},
                unrepaired=frozenset(),
                is_operators=waiting.is_operators or each.is_operators,
            )
            continue
        if waiting is not None:
            yield waiting
        waiting = each
    if waiting is not None:
        yield waiting


def _of_comparisons(user: UUID, comparisons: Sequence[Compared]) -> Iterator[_At]:
    for each in comparisons:
        kind = each.kinds.get(user)
        claims = user not in each.unrepaired and (kind is not None or each.claims_all)
        yield _At(each.began, -1, Observed(Seen.COMPARING, is_operators=each.is_operators))
        yield _At(each.ended, 10**9, Observed(Seen.COMPARED, kind=kind, is_claim=claims))


def _without_repetition(log: Sequence[Observed]) -> list[Observed]:
    """Leave out comparisons before the first commit, and those that repeat the one before.

    A comparison that repaired the user claims nothing else about the user.
    """
    short: list[Observed] = []
    for observed in log:
        if observed.what is Seen.COMPARED:
            began = _beginning(short)
            assert began is not None
            if short[began + 1 :]:
                was_repaired = any(each.what is Seen.REPAIRED for each in short[began + 1 :])
                observed = observed._replace(is_claim=observed.is_claim and not was_repaired)
            elif (
                not began
                or short[began - 2 : began] == [short[began], observed]
                or not observed.is_claim
            ):
                del short[began:]
                continue
        short.append(observed)
    return short


def _beginning(log: Sequence[Observed]) -> int | None:
    for place in range(len(log) - 1, -1, -1):
        if log[place].what is Seen.COMPARED:
            return None
        if log[place].what is Seen.COMPARING:
            return place
    return None


def _with_publications(
    log: Sequence[Observed], versions: Sequence[int], lost: Set[int | None]
) -> Iterator[Observed]:
    """Put each publication before what follows from it, and repeated ones at the end.

    One whose confirm a failover has lost or prevented is repeated before it is confirmed. What a
    failover has ``lost`` was published before it. The relay has read an event before it was erased,
    if it was published and not marked as such. Others that it read then and sent later are to the
    model what a frozen relay sends.
    """
    left = list(versions)
    deletions = {each.version for each in log if each.is_deletion}
    marked = {each.version for each in log if each.what is Seen.CONFIRMED}
    done: set[int | None] = set()
    confirmed: set[int | None] = set()
    for observed in log:
        until, version = 0, observed.version
        is_confirm = observed.what is Seen.CONFIRMED
        is_first = (is_confirm or observed.what is Seen.APPLIED) and version not in done
        is_again = is_confirm and version in confirmed
        if is_confirm:
            confirmed.add(version)
        if (is_first or is_again) and version in left:
            until = left.index(version) + 1
        elif observed.what is Seen.COMMITTED and observed.is_deletion:
            erased = {each for each in left if each not in marked and each not in deletions}
            until = min((left.index(each) + 1 for each in erased), default=0)
        elif observed.what is Seen.SOURCE_FAILED_OVER:
            until = max((place for place, each in enumerate(left, 1) if each in lost), default=0)
            confirmed |= done
        for each in left[:until]:
            yield Observed(Seen.PUBLISHED, each, each in deletions)
        done.update(left[:until])
        del left[:until]
        yield observed
    for version in left:
        yield Observed(Seen.PUBLISHED, version, version in deletions)


def _time(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
