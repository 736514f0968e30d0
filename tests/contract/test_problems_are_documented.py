"""docs/problems.md lists every error code, because clients match on them."""

import re
from pathlib import Path

import auth_service.problems
import blog_service.problems
import service_kit.http.problems
from service_kit.http.problems import Code

ROOT = Path(__file__).parents[2]
CODES = [
    value
    for module in (service_kit.http.problems, auth_service.problems, blog_service.problems)
    for value in vars(module).values()
    if isinstance(value, Code)
]


def test_every_code_is_documented_with_its_status() -> None:
    """With its HTTP status; codes that no longer exist are not listed."""
    text = (ROOT / "docs" / "problems.md").read_text()
    listed = re.findall(r"^\| `(\w+)` \| (\d{3}) \| \S", text, re.MULTILINE)
    assert sorted(listed) == sorted((code.name, str(code.status)) for code in CODES)


def test_every_code_has_its_own_name_and_type() -> None:
    """Two constants with the same name would give one code two meanings."""
    assert len({code.name for code in CODES}) == len(CODES)
    assert len({code.type for code in CODES}) == len(CODES)
