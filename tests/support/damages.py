"""Seeded damages to a replica and its source, and what a comparison has to say of each. Pure.

``damages`` makes any number of them from a seed, for the users that ``Pair.fill`` creates. Some of
these users get ids on the boundaries of buckets (``renumbered``), many of them in the same bucket.
Damages of one ``round`` touch different users, so that each has to be named for itself.

Not here: applying damages and asking for verdicts (``test_attacks_on_the_comparison``).
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from hashlib import md5
from random import Random
from typing import Final, TypeAlias
from uuid import UUID

from contracts.sync.digest import BUCKETS, bucket_of
from replica.reconcile.model import Kind

USERS: Final = 300
DEAD_ONE_IN: Final = 10
FIRST_VERSION: Final = 1_700_000_000_000_000

_HIGH: Final = (
    "00000000-0000-0000-0000-00000000",
    "0a000000-0000-4000-8000-00000000",
    "7fffffff-ffff-7fff-bfff-ffffffff",
    "80000000-0000-4000-8000-00000000",
    "a0000000-0000-4000-8000-00000000",
    "ffffffff-ffff-ffff-ffff-ffffffff",
)
"""Ids that sort differently as text, as bytes, and as signed or unsigned numbers."""

_LOW: Final = ("0000", "0001", "07ff", "0800", "0ffe", "0fff", "1000", "1fff", "f000", "ffff")
"""First, last and middle buckets and their neighbours, some of them twice or thrice."""

_ON_BOUNDARIES: Final = tuple(UUID(high + low) for low in _LOW for high in _HIGH)


_IDS: Final = (
    *_ON_BOUNDARIES,
    *(
        UUID(md5(str(number).encode(), usedforsecurity=False).hexdigest())
        for number in range(len(_ON_BOUNDARIES) + 1, USERS + 1)
    ),
)


class Side(StrEnum):
    """Which database is damaged."""

    REPLICA = "replica"
    SOURCE = "source"


class Seen(StrEnum):
    """What has to notice a damage."""

    BY_A_PROOF = "proof"
    """It names each user, or repairs them; if there are none to name, it reports no drift."""

    AS_WRONG_DIGESTS = "wrong_digests"
    """A proof finds digests that differ and no users who do, and requests a comparison."""

    BY_A_COMPARISON = "comparison"
    """A proof sees nothing; the comparison of whole tables names users, and corrects digests."""


@dataclass(frozen=True, slots=True)
class User:
    """The ``number``th of the users that ``Pair.fill`` creates."""

    number: int

    @property
    def id(self) -> UUID:
        """Their id, after ``renumbered``."""
        return _IDS[self.number - 1]

    @property
    def is_dead(self) -> bool:
        return self.number % DEAD_ONE_IN == 0

    @property
    def has_roles(self) -> bool:
        """Whether they are a moderator and an administrator."""
        return not self.is_dead and self.number % 7 == 0


@dataclass(frozen=True, slots=True)
class Damage:
    """One damage.

    Parameters:
        words: what it does.
        statements: SQL, executed in one transaction.
        kinds: how each touched user differs afterwards.
        side: the database that is damaged.
        seen: what notices it.
        touched: users whose rows have to be restored, whether they differ or not.
    """

    words: str
    statements: tuple[str, ...]
    kinds: Mapping[UUID, Kind]
    side: Side = Side.REPLICA
    seen: Seen = Seen.BY_A_PROOF
    touched: tuple[UUID, ...] = ()

    def __str__(self) -> str:
        users = ", ".join(str(each) for each in self.touched)
        return f"{self.words} ({self.side}: {users})"


def renumbered() -> list[str]:
    """SQL that gives some users the ids that ``User`` says; for both sides."""
    pairs = ", ".join(
        f"('{user_id}'::uuid, {FIRST_VERSION + number})"
        for number, user_id in enumerate(_ON_BOUNDARIES, start=1)
    )
    return [
        "UPDATE users SET id = changed.id"
        f" FROM (VALUES {pairs}) AS changed (id, version) WHERE users.version = changed.version"
    ]


@dataclass
class Pool:
    """Users that no damage of this round has touched."""

    random: Random
    left: list[User] = field(
        default_factory=lambda: [User(number) for number in range(1, USERS + 1)]
    )

    def take(self, fits: Callable[[User], bool]) -> User:
        """Take one user at random."""
        taken = self.random.choice([each for each in self.left if fits(each)])
        self.left.remove(taken)
        return taken

    def anyone(self) -> User:
        return self.take(lambda _: True)

    def living(self) -> User:
        return self.take(lambda each: not each.is_dead)

    def dead(self) -> User:
        return self.take(lambda each: each.is_dead)

    def two(self, *, in_one_bucket: bool) -> tuple[User, User]:
        """Take two living users of one bucket, or of neighbouring or other buckets."""
        if not in_one_bucket:
            return self.living(), self.living()
        living = [
            each for each in self.left if each.number <= len(_ON_BOUNDARIES) and not each.is_dead
        ]
        pairs = [
            (one, other)
            for one in living
            for other in living
            if one.number < other.number and bucket_of(one.id) == bucket_of(other.id)
        ]
        one, other = self.random.choice(pairs)
        self.left.remove(one)
        self.left.remove(other)
        return one, other

    def stranger(self, bucket: int) -> UUID:
        """Make the id of a user that the source never had, in a bucket."""
        return UUID(int=(self.random.getrandbits(128 - 12) << 12) | bucket % BUCKETS)


Maker: TypeAlias = Callable[[Pool], Damage]
"""Makes one kind of damage to users of the pool."""

_DEAD: Final = (
    "status = 'deleted', deleted_at = now(), email = NULL, roles = '{}',"
    " tokens_valid_after = NULL, created_at = NULL, updated_at = NULL"
)
_ALIVE: Final = (
    "status = 'active', deleted_at = NULL, email = 'back@example.org',"
    " created_at = now(), updated_at = now()"
)
_PROVISIONAL: Final = (
    "version = 0, status = 'provisional', deleted_at = NULL, email = NULL, roles = '{}',"
    " created_at = NULL, updated_at = NULL, tokens_valid_after = NULL"
)

_STATUS: Final = "status = CASE status WHEN 'active' THEN 'disabled' ELSE 'active' END"
_TIME: Final = (
    "tokens_valid_after = CASE WHEN tokens_valid_after IS NULL"
    " THEN timestamptz '2000-01-01 00:00:00Z' END"
)

OF_LIVING: Final = (
    ("email in upper case", "email = upper(email)", Kind.CORRUPT),
    ("email null", "email = NULL", Kind.CORRUPT),
    ("email empty", "email = ''", Kind.CORRUPT),
    ("a space after the email", "email = email || ' '", Kind.CORRUPT),
    ("email with a composed letter", "email = U&'\\00E9@example.org'", Kind.CORRUPT),
    ("email with a decomposed letter", "email = U&'e\\0301@example.org'", Kind.CORRUPT),
    ("a flag turned", "email_verified = NOT email_verified", Kind.CORRUPT),
    ("one role", "roles = '{moderator}'", Kind.CORRUPT),
    ("an empty role", "roles = '{\"\"}'", Kind.CORRUPT),
    ("a null role", "roles = '{NULL}'", Kind.CORRUPT),
    ("two roles in one", "roles = '{\"admin,moderator\"}'", Kind.CORRUPT),
    ("another status", _STATUS, Kind.CORRUPT),
    ("null for a time, or the epoch of times for null", _TIME, Kind.CORRUPT),
    ("a microsecond more", "created_at = created_at + interval '1 microsecond'", Kind.CORRUPT),
    ("a microsecond less", "updated_at = updated_at - interval '1 microsecond'", Kind.CORRUPT),
    ("a time null", "created_at = NULL", Kind.CORRUPT),
    ("a time infinite", "updated_at = 'infinity'", Kind.CORRUPT),
    ("one version less", "version = version - 1", Kind.STALE),
    ("2^32 versions less", "version = version - 4294967296", Kind.STALE),
    ("version 1", "version = 1", Kind.STALE),
    ("an older version with other content", "version = version - 7, email = 'x'", Kind.STALE),
    ("one version more", "version = version + 1", Kind.AHEAD),
    ("2^32 versions more", "version = version + 4294967296", Kind.AHEAD),
    ("an id alone", _PROVISIONAL, Kind.MISSING),
    ("deleted, at the same version", _DEAD, Kind.UNDONE_DELETION),
    ("deleted, at a newer version", f"version = version + 9, {_DEAD}", Kind.UNDONE_DELETION),
    ("deleted, at an older version", f"version = version - 9, {_DEAD}", Kind.UNDONE_DELETION),
)
"""What an UPDATE of a living user does: words, SQL, and the kind of the difference."""

OF_DEAD: Final = (
    ("a later deletion", "deleted_at = deleted_at + interval '1 microsecond'", Kind.CORRUPT),
    ("an older tombstone", "version = version - 1", Kind.STALE),
    ("a newer tombstone", "version = version + 1", Kind.AHEAD),
    ("alive, at an older version", f"version = version - 1, {_ALIVE}", Kind.UNDELETED),
    ("alive, at the same version", _ALIVE, Kind.UNDELETED),
    ("an id alone in place of a tombstone", _PROVISIONAL, Kind.UNDELETED),
)

HARMLESS: Final = (
    ("the same values again", "email = email, version = version"),
    ("another time of arrival", "applied_at = applied_at - interval '1 day'"),
)

_COLUMNS: Final = (
    *("version", "email", "email_verified", "roles", "status", "tokens_valid_after"),
    *("created_at", "updated_at", "deleted_at"),
)


def _update(words: str, change: str, user: User, kind: Kind | None) -> Damage:
    kinds = {} if kind is None else {user.id: kind}
    statement = f"UPDATE users SET {change} WHERE id = '{user.id}'"
    return Damage(words, (statement,), kinds, touched=(user.id,))


def _living(pool: Pool) -> Damage:
    words, change, kind = pool.random.choice(OF_LIVING)
    return _update(words, change, pool.living(), kind)


def _dead(pool: Pool) -> Damage:
    words, change, kind = pool.random.choice(OF_DEAD)
    return _update(words, change, pool.dead(), kind)


def _removed(pool: Pool) -> Damage:
    user = pool.anyone()
    statement = f"DELETE FROM users WHERE id = '{user.id}'"
    return Damage("a row removed", (statement,), {user.id: Kind.MISSING}, touched=(user.id,))


def _stranger(pool: Pool) -> Damage:
    user_id = pool.stranger(pool.random.choice([0, 1, 2047, 2048, 4094, 4095]))
    words, columns, values, kind = pool.random.choice(
        [
            ("an orphan", ", email, created_at, updated_at", "'o', now(), now()", Kind.ORPHAN),
            ("an orphan without an email", ", created_at, updated_at", "now(), now()", Kind.ORPHAN),
            ("an id without a user", "", "", Kind.PROVISIONAL_ORPHAN),
            ("a tombstone that the source never had", ", deleted_at", "now()", None),
        ]
    )
    statuses = {Kind.ORPHAN: "7, 'active',", Kind.PROVISIONAL_ORPHAN: "0, 'provisional'"}
    status = "7, 'deleted'," if kind is None else statuses[kind]
    statement = (
        f"INSERT INTO users (id, version, status{columns}) VALUES ('{user_id}', {status} {values})"
    )
    kinds = {} if kind is None else {user_id: kind}
    return Damage(words, (statement,), kinds, touched=(user_id,))


def _swapped(pool: Pool) -> Damage:
    """Two users exchange some columns; what the sums gain by one they may lose by the other."""
    in_one_bucket = pool.random.random() < 0.6
    one, other = sorted(pool.two(in_one_bucket=in_one_bucket), key=lambda each: each.number)
    columns, kinds = pool.random.choice(
        [
            (("email",), (Kind.CORRUPT, Kind.CORRUPT)),
            (("created_at", "updated_at"), (Kind.CORRUPT, Kind.CORRUPT)),
            (_COLUMNS[1:], (Kind.CORRUPT, Kind.CORRUPT)),
            (("version",), (Kind.AHEAD, Kind.STALE)),
            (_COLUMNS, (Kind.AHEAD, Kind.STALE)),
        ]
    )
    where = "one bucket" if in_one_bucket else "any buckets"
    words = f"two users of {where} exchange {', '.join(columns)}"
    return _exchanged(words, columns, one, other, *kinds)


def _exchanged(words: str, columns: Sequence[str], one: User, other: User, *kinds: Kind) -> Damage:
    ids = f"('{one.id}', '{other.id}')"
    sets = ", ".join(f"{name} = other.{name}" for name in columns)
    statement = (
        f"UPDATE users SET {sets} FROM (SELECT * FROM users WHERE id IN {ids}) AS other"
        f" WHERE users.id IN {ids} AND other.id <> users.id"
    )
    touched = (one.id, other.id)
    return Damage(words, (statement,), dict(zip(touched, kinds, strict=True)), touched=touched)


def _dead_for_living(pool: Pool) -> Damage:
    words = "a tombstone and a living user exchange everything"
    kinds = (Kind.UNDONE_DELETION, Kind.UNDELETED)
    return _exchanged(words, _COLUMNS, pool.living(), pool.dead(), *kinds)


def _opposite(pool: Pool) -> Damage:
    """Numbers of one bucket that change by the same amount up and down."""
    one, other = pool.two(in_one_bucket=True)
    amount = pool.random.choice([1, 2, 65_536, 2**31, 2**32])
    statement = (
        f"UPDATE users SET version = version + CASE id WHEN '{one.id}' THEN {amount}"
        f" ELSE {-amount} END WHERE id IN ('{one.id}', '{other.id}')"
    )
    return Damage(
        f"in one bucket, {amount} versions more and as many less",
        (statement,),
        {one.id: Kind.AHEAD, other.id: Kind.STALE},
        touched=(one.id, other.id),
    )


def _duplicated(pool: Pool) -> Damage:
    """A user's row under other ids too: once or twice in the same bucket, or in the next one."""
    user = pool.living()
    copies = pool.random.choice([1, 2])
    bucket = bucket_of(user.id) + pool.random.choice([0, 0, 1, -1])
    ids = [pool.stranger(bucket) for _ in range(copies)]
    names = ", ".join(_COLUMNS)
    statements = [
        f"INSERT INTO users (id, {names}) SELECT '{each}', {names} FROM users"
        f" WHERE id = '{user.id}'"
        for each in ids
    ]
    kinds = dict.fromkeys(ids, Kind.ORPHAN)
    words = f"{copies} copies of a user under other ids"
    if pool.random.random() < 0.5:
        statements.append(f"DELETE FROM users WHERE id = '{user.id}'")
        kinds[user.id] = Kind.MISSING
        words += ", in their place"
    return Damage(words, tuple(statements), kinds, touched=(user.id, *ids))


def _harmless(pool: Pool) -> Damage:
    words, change = pool.random.choice(HARMLESS)
    return _update(words, change, pool.anyone(), None)


def _reordered(pool: Pool) -> Damage:
    user = pool.take(lambda each: each.has_roles)
    change = "roles = '{admin,moderator,admin}'"
    return _update("the same roles in another order, one twice", change, user, None)


def _put_back(pool: Pool) -> Damage:
    user = pool.living()
    statements = (
        f"UPDATE users SET email = email || 'x' WHERE id = '{user.id}'",
        f"UPDATE users SET email = left(email, -1) WHERE id = '{user.id}'",
    )
    return Damage("changed and put back", statements, {}, touched=(user.id,))


def _at_the_source(pool: Pool) -> Damage:
    user = pool.living()
    update = "UPDATE users SET"
    words, statement, kind = pool.random.choice(
        [
            ("a change without an event", f"{update} email = 'x' || email", Kind.CORRUPT),
            ("the source goes a version back", f"{update} version = version - 1", Kind.AHEAD),
            ("an event of the source is lost", f"{update} version = version + 1", Kind.STALE),
            ("the source loses a user", "DELETE FROM users", Kind.ORPHAN),
        ]
    )
    statements = (f"{statement} WHERE id = '{user.id}'",)
    return Damage(words, statements, {user.id: kind}, Side.SOURCE, touched=(user.id,))


_ROWS: Final = (
    *(_living,) * 6,
    *(_dead,) * 2,
    _removed,
    _stranger,
    *(_swapped,) * 3,
    *(_dead_for_living, _opposite, _duplicated, _harmless, _reordered, _put_back, _at_the_source),
)

_TRIGGERS: Final = "ALTER TABLE users {} TRIGGER USER"
_UNCOUNT: Final = "DELETE FROM digest_changes WHERE xmin = pg_current_xact_id()::xid"
PAST_TRIGGERS: Final = (
    ("with triggers disabled", (_TRIGGERS.format("DISABLE"),), (_TRIGGERS.format("ENABLE"),)),
    ("in a session that replicates", ("SET LOCAL session_replication_role = replica",), ()),
    ("whose counted changes are removed", (), (_UNCOUNT,)),
)
"""Ways past the triggers: words, and SQL before and after the damage."""


def _past_triggers(way: tuple[str, Sequence[str], Sequence[str]]) -> Maker:
    """Make one of the damages to rows, past the triggers."""
    words, before, after = way

    def make(pool: Pool) -> Damage:
        rows = pool.random.choice([_living, _dead, _removed, _swapped, _opposite, _at_the_source])
        done = rows(pool)
        return replace(
            done,
            words=f"{done.words}, {words}",
            statements=(*before, *done.statements, *after),
            seen=Seen.BY_A_COMPARISON,
        )

    return make


def _counted(bucket: int, **sums: int) -> str:
    lanes = [f"{kind}{lane}" for kind in ("state", "versions") for lane in range(1, 5)]
    row = dict.fromkeys(("users", "tombstones", *lanes), 0) | sums
    return (
        f"INSERT INTO digest_changes (bucket, {', '.join(row)})"
        f" VALUES ({bucket}, {', '.join(str(each) for each in row.values())})"
    )


def _edited_digest(pool: Pool) -> Damage:
    bucket, lane = pool.random.randrange(BUCKETS), pool.random.randrange(1, 5)
    amount = pool.random.choice([1, -1, 2**31 - 1])
    statements = [_counted(bucket, **{f"state{lane}": amount})]
    words = "a digest edited"
    if pool.random.random() < 0.5:
        statements.append(_counted(bucket ^ 1, **{f"state{lane}": -amount}))
        words = "the digests of two neighbours edited by opposite numbers"
    side = pool.random.choice(list(Side))
    return Damage(words, tuple(statements), {}, side, Seen.AS_WRONG_DIGESTS)


NOT_READ_BY_PROOFS: Final[tuple[tuple[str, Mapping[str, int]], ...]] = (
    ("the count of living users edited", {"users": 1}),
    ("the counts edited by opposite numbers", {"users": -1, "tombstones": 1}),
    ("a digest of versions edited", {"versions1": 1}),
)


def _edited(words: str, sums: Mapping[str, int]) -> Maker:
    def make(pool: Pool) -> Damage:
        statement = _counted(pool.random.randrange(BUCKETS), **sums)
        side = pool.random.choice(list(Side))
        return Damage(words, (statement,), {}, side, Seen.BY_A_COMPARISON)

    return make


UNSEEN: Final[Sequence[Maker]] = (
    *(_past_triggers(way) for way in PAST_TRIGGERS),
    *(_edited(words, sums) for words, sums in NOT_READ_BY_PROOFS),
)
"""What a proof does not see, and a comparison of whole tables does."""

WITHOUT_DIFFERENCE: Final[Sequence[Maker]] = (_harmless, _harmless, _reordered, _put_back)
"""What leaves equal states."""

_BY_SEEN: Final[Mapping[Seen, Sequence[Maker]]] = {
    Seen.BY_A_PROOF: _ROWS,
    Seen.AS_WRONG_DIGESTS: (_edited_digest,),
    Seen.BY_A_COMPARISON: UNSEEN,
}


def rounds(seed: int, count: int, *, size: int) -> Iterator[tuple[Seen, list[Damage]]]:
    """Make ``count`` damages in rounds of ``size``; one round in five is past the proofs."""
    random = Random(seed)
    others = (Seen.AS_WRONG_DIGESTS, Seen.BY_A_COMPARISON)
    for number in range(count // size):
        seen = others[number // 5 % 2] if number % 5 == 4 else Seen.BY_A_PROOF
        yield seen, damages(random, seen, size)


def damages(random: Random, seen: Seen, count: int) -> list[Damage]:
    """Make damages that touch different users; each way once before any is repeated."""
    pool, ways = Pool(random), list(_BY_SEEN[seen])
    random.shuffle(ways)
    return [ways[number % len(ways)](pool) for number in range(count)]


def each(seed: int, makers: Sequence[Maker]) -> list[Damage]:
    """Make one damage with each maker, to different users."""
    pool = Pool(Random(seed))
    return [make(pool) for make in makers]
