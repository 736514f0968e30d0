"""Any number of ids, as arguments or on standard input."""

import io
import sys
import tracemalloc
from types import SimpleNamespace
from uuid import UUID, uuid4

import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st

from service_kit.process.errors import OperatorError
from service_kit.process.id_lists import argument, ids_of, user_id

MEMORY_BYTES_MAX = 4 * 1024 * 1024


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch) -> io.BytesIO:
    """Standard input, empty and rewound by the test."""
    stdin = io.BytesIO()
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=stdin))
    return stdin


def test_arguments_are_read_in_their_order() -> None:
    ids = [uuid4() for _ in range(3)] * 2
    with ids_of([str(each) for each in ids], user_id) as read:
        assert (len(read), list(read)) == (6, ids)
    with ids_of([], user_id) as read:
        assert (len(read), list(read)) == (0, [])


@given(st.lists(st.uuids()), st.lists(st.sampled_from([" ", "\n", "\r\n", "\t"]), min_size=1))
def test_any_white_space_separates_ids_on_standard_input(ids: list[UUID], gaps: list[str]) -> None:
    text = "".join(f"{gaps[n % len(gaps)]}{each}" for n, each in enumerate(ids))
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(text.encode())))
        with ids_of(["-"], user_id) as read:
            assert list(read) == ids


def test_a_long_list_takes_little_memory(typed: io.BytesIO) -> None:
    """Fifty thousand users, each of them read and none left out at the edge of a chunk."""
    ids = [UUID(int=number) for number in range(50_000)]
    typed.write("\n".join(map(str, ids)).encode())
    typed.seek(0)
    tracemalloc.start()
    try:
        with ids_of(["-"], user_id) as read:
            assert len(read) == 50_000
            assert all(each == expected for each, expected in zip(read, ids, strict=True))
        assert tracemalloc.get_traced_memory()[1] < MEMORY_BYTES_MAX
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "wrong", [b"ada@example.org", b"\xff\xfe", b"x" * 1_000_000, "é".encode(), b"\x1b[2J"]
)
def test_something_else_than_an_id_is_refused(typed: io.BytesIO, wrong: bytes) -> None:
    typed.write(f"{uuid4()}\n".encode() + wrong)
    typed.seek(0)
    with pytest.raises(OperatorError) as refused, ids_of(["-"], user_id):
        pass
    assert "standard input, id 2: " in str(refused.value)
    assert "nothing was done" in str(refused.value)
    assert len(str(refused.value)) < 300
    assert str(refused.value).isprintable()


def test_ids_and_standard_input_together_are_refused() -> None:
    """They could be a mistake, and what is erased stays erased."""
    with pytest.raises(typer.BadParameter), ids_of([str(uuid4()), "-"], user_id):
        pass


def test_an_argument_is_an_id_or_a_dash() -> None:
    """Typer reports anything else with exit code 2."""
    check = argument(user_id)
    assert check("-") == "-"
    with pytest.raises(typer.BadParameter, match="not a valid UUID"):
        check("ada")
