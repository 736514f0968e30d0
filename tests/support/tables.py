"""Tables of bad values, by the name of the field that they are for."""

from collections.abc import Iterable, Sequence
from typing import Any

import pytest

Table = Iterable[tuple[str, Sequence[Any]]]


def one_by_one(table: Table) -> list[Any]:
    """Return the name and a value for each value of a table, as cases of a parametrized test."""
    return [
        pytest.param(name, value, id=f"{name} {value!a:.40}")
        for name, values in table
        for value in values
    ]
