"""Hashing off the event loop, a bounded number at a time."""

import asyncio
import threading
from collections.abc import Iterator

import pytest
from argon2 import PasswordHasher

from auth_service.users import passwords as passwords_module
from auth_service.users.password_policy import WeakPassword, require_strong_password
from auth_service.users.passwords import HashingBusy, Passwords

PASSWORD = "heron lantern gravel sonnet"


@pytest.fixture
def passwords() -> Iterator[Passwords]:
    """One thread, and one place to wait."""
    passwords = Passwords(threads=1, waiting_max=1)
    yield passwords
    passwords.close()


async def test_a_hash_matches_its_password_alone(passwords: Passwords) -> None:
    """argon2id with OWASP's parameters, and a salt of its own."""
    one, other = await passwords.hash(PASSWORD), await passwords.hash(PASSWORD)
    assert one.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert one != other
    assert await passwords.matches(PASSWORD, one)
    assert not await passwords.matches(PASSWORD.upper(), one)


async def test_no_password_matches_without_a_hash(passwords: Passwords) -> None:
    """Not even that of the decoy hash, which is checked without a stored one."""
    assert not await passwords.matches(PASSWORD, None)
    assert not await passwords.matches("the password of nobody", None)
    assert not await passwords.matches(PASSWORD, "no hash at all")


@pytest.mark.parametrize("known", [True, False], ids=["hash", "nobody"])
async def test_more_than_the_limit_are_refused_at_once(passwords: Passwords, known: bool) -> None:
    """A check without a hash takes a place as well; all places are free again afterwards."""
    password_hash = await passwords.hash(PASSWORD) if known else None

    results = await asyncio.gather(
        *(passwords.matches(PASSWORD, password_hash) for _ in range(4)), return_exceptions=True
    )
    later = await passwords.matches(PASSWORD, password_hash)

    assert results[:2] == [known, known]
    assert [type(result) for result in results[2:]] == [HashingBusy, HashingBusy]
    assert later is known


async def test_a_cancelled_wait_frees_its_place(passwords: Passwords) -> None:
    """A request that is cancelled before its turn leaves room for the next."""
    hashing, waiting = (asyncio.create_task(passwords.hash(PASSWORD)) for _ in range(2))
    await asyncio.sleep(0)  # lets them take their places
    with pytest.raises(HashingBusy):
        await passwords.hash(PASSWORD)

    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)

    assert await passwords.hash(PASSWORD)
    assert await hashing


async def test_a_cancelled_hash_keeps_its_place(
    passwords: Passwords, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The thread is busy; otherwise repeated disconnects would pile up work."""
    verifying = threading.Event(), threading.Event()

    def slow(_: PasswordHasher, __: str, ___: str) -> bool:
        verifying[0].set()
        return verifying[1].wait(30)

    monkeypatch.setattr(PasswordHasher, "verify", slow)
    gave_up = [asyncio.create_task(passwords.matches(PASSWORD, None)) for _ in range(2)]
    await asyncio.to_thread(verifying[0].wait, 30)
    for task in gave_up:
        task.cancel()
    await asyncio.gather(*gave_up, return_exceptions=True)

    # One is on the thread, although its request has gone; the other one's place is free.
    waits = asyncio.create_task(passwords.matches(PASSWORD, None))
    await asyncio.sleep(0)  # lets it take its place
    with pytest.raises(HashingBusy):
        await passwords.matches(PASSWORD, None)
    verifying[1].set()
    await waits


async def test_new_passwords_are_judged_beside_the_loop(
    passwords: Passwords, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The loop continues while they are judged: each judge waits for it."""
    loop_continued = threading.Event()

    def judge(password: str, *, email: str, length_min: int) -> None:
        assert loop_continued.wait(30)
        require_strong_password(password, email=email, length_min=length_min)

    monkeypatch.setattr(passwords_module, "require_strong_password", judge)
    new = "heron lantern gravel sonnet " * 4
    judging = [
        asyncio.create_task(passwords.require_strong(new, email="ada@example.org", length_min=15))
        for _ in range(2)
    ]
    await asyncio.sleep(0)  # both have begun
    assert not any(task.done() for task in judging)
    loop_continued.set()
    await asyncio.gather(*judging)

    with pytest.raises(WeakPassword):
        await passwords.require_strong("iloveyouforever", email="ada@example.org", length_min=15)


async def test_a_password_is_the_same_however_it_is_typed(passwords: Passwords) -> None:
    """Composed or not, in full width or not (NFKC); case and spaces at its ends matter."""
    typed = "\uff22e\u0302te à cornes "
    password_hash = await passwords.hash(typed)
    assert await passwords.matches("Bête à cornes ", password_hash)
    assert await passwords.matches(typed, await passwords.hash("Bête à cornes "))
    for other in ("Bête à cornes", "bête à cornes ", " Bête à cornes ", "Bete a cornes "):
        assert not await passwords.matches(other, password_hash)


@pytest.mark.parametrize(
    "parameters", ["m=132097,t=1,p=1", "m=131072,t=17,p=1", "m=8,t=21,p=1", "m=136,t=1,p=17"]
)
async def test_a_stored_hash_that_needs_too_much_is_not_computed(
    passwords: Passwords, parameters: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would take a container's memory, or block a thread for long; it matches nothing."""
    computed: list[str] = []
    monkeypatch.setattr(PasswordHasher, "verify", lambda _, stored, __: computed.append(stored))
    salt_and_hash = (await passwords.hash(PASSWORD)).split("$", 4)[4]
    assert not await passwords.matches(PASSWORD, f"$argon2id$v=19${parameters}${salt_and_hash}")
    assert computed == []


async def test_a_hash_with_other_parameters_needs_a_rehash(passwords: Passwords) -> None:
    weaker = PasswordHasher(1, 8, 1).hash(PASSWORD)
    assert await passwords.matches(PASSWORD, weaker)
    assert passwords.needs_rehash(weaker)
    assert not passwords.needs_rehash(await passwords.hash(PASSWORD))


async def test_a_check_without_a_hash_takes_as_long(
    passwords: Passwords, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One hash with today's parameters either way: timing does not show who is known."""
    computed: list[str] = []
    verify = PasswordHasher.verify

    def counted(self: PasswordHasher, password_hash: str, password: str) -> bool:
        computed.append(password_hash.rpartition("$")[0].rpartition("$")[0])
        return verify(self, password_hash, password)

    monkeypatch.setattr(PasswordHasher, "verify", counted)
    password_hash = await passwords.hash(PASSWORD)

    assert not await passwords.matches("wrong", password_hash)
    assert not await passwords.matches("wrong", None)

    assert computed == ["$argon2id$v=19$m=19456,t=2,p=1"] * 2


async def test_the_loop_continues_while_a_password_is_hashed(passwords: Passwords) -> None:
    hashing = asyncio.create_task(passwords.hash(PASSWORD))
    rounds = 0
    while not hashing.done():
        rounds += 1
        await asyncio.sleep(0)  # one round of the loop

    assert await hashing
    assert rounds > 10
