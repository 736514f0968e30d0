"""The codes of error answers are what the documentation lists, since clients match on them."""

import re
from pathlib import Path

from service_kit.http import problems
from service_kit.http.problems import Code

ROOT = Path(__file__).parents[2]
CODES = {value.name: value for value in vars(problems).values() if isinstance(value, Code)}


def test_every_code_is_documented_with_its_status() -> None:
    """A code that is not listed cannot be relied on, one that is gone must not be."""
    text = (ROOT / "docs" / "problems.md").read_text()
    listed = re.findall(r"^\| `(\w+)` \| (\d{3}) \| \S", text, re.MULTILINE)

    assert sorted(listed) == sorted((code.name, str(code.status)) for code in CODES.values())


def test_a_code_has_one_name_and_one_type() -> None:
    """Two constants of one name would be two meanings."""
    codes = [value for value in vars(problems).values() if isinstance(value, Code)]

    assert len({code.name for code in codes}) == len(codes)
    assert len({code.type for code in codes}) == len(codes)
