"""Hashing off the event loop, a bounded number at a time."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator

import pytest

from auth_service.users.passwords import HashingBusy, Passwords

PASSWORD = "correct horse battery staple"


@pytest.fixture
def passwords() -> Iterator[Passwords]:
    """One thread, and one place to wait."""
    passwords = Passwords(threads=1, waiting_max=1)
    yield passwords
    passwords.close()


async def test_a_hash_matches_its_password_alone(passwords: Passwords) -> None:
    """argon2id with the parameters that OWASP asks for, and a salt of its own."""
    one, other = await passwords.hash(PASSWORD), await passwords.hash(PASSWORD)

    assert one.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert one != other
    assert await passwords.matches(PASSWORD, one)
    assert not await passwords.matches(PASSWORD.upper(), one)


async def test_nobody_has_a_password(passwords: Passwords) -> None:
    """Not even the one behind the hash that is checked in place of his."""
    assert not await passwords.matches(PASSWORD, None)
    assert not await passwords.matches("the password of nobody", None)


async def test_a_damaged_hash_matches_nothing(passwords: Passwords) -> None:
    """What is stored may be no hash of ours."""
    assert not await passwords.matches(PASSWORD, "no hash at all")


@pytest.mark.parametrize("known", [True, False], ids=["hash", "nobody"])
async def test_more_than_the_limit_are_refused_at_once(passwords: Passwords, known: bool) -> None:
    """A check against nobody takes a place as well, and all places are free again afterwards."""
    password_hash = await passwords.hash(PASSWORD) if known else None

    results = await asyncio.gather(
        *(passwords.matches(PASSWORD, password_hash) for _ in range(4)), return_exceptions=True
    )
    later = await passwords.matches(PASSWORD, password_hash)

    assert results[:2] == [known, known]
    assert [type(result) for result in results[2:]] == [HashingBusy, HashingBusy]
    assert later is known


async def test_who_gives_up_waiting_frees_his_place(passwords: Passwords) -> None:
    """A request that is cancelled leaves room for the next."""
    waiting = [asyncio.create_task(passwords.hash(PASSWORD)) for _ in range(2)]
    await asyncio.sleep(0)  # lets them take their places
    with pytest.raises(HashingBusy):
        await passwords.hash(PASSWORD)

    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)

    assert await passwords.hash(PASSWORD)


async def test_a_check_against_nobody_takes_as_long(passwords: Passwords) -> None:
    """A real hash is computed either way, so the time does not tell who has an account."""
    password_hash = await passwords.hash(PASSWORD)

    of_user = await least_cpu_seconds(lambda: passwords.matches("wrong", password_hash))
    of_nobody = await least_cpu_seconds(lambda: passwords.matches("wrong", None))

    assert 0.5 < of_nobody / of_user < 2


async def test_the_loop_goes_on_while_a_password_is_hashed(passwords: Passwords) -> None:
    """Other requests are served meanwhile."""
    hashing = asyncio.create_task(passwords.hash(PASSWORD))
    rounds = 0
    while not hashing.done():
        rounds += 1
        await asyncio.sleep(0)  # one round of the loop

    assert await hashing
    assert rounds > 10


async def least_cpu_seconds(check: Callable[[], Awaitable[bool]]) -> float:
    """The processor time of one check; the least of a few, for others run on this machine."""
    seconds = []
    for _ in range(5):
        start = time.process_time()
        await check()
        seconds.append(time.process_time() - start)
    return min(seconds)
