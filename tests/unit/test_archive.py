"""Archives of what is known of one person."""

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest

from service_kit.process.archive import archive_at
from service_kit.process.errors import OperatorError

AT = datetime(2026, 11, 30, 12, tzinfo=UTC)


async def rows(count: int) -> AsyncIterator[dict[str, Any]]:
    for number in range(count):
        yield {"number": number, "at": AT, "text": "Grüße\n"}


async def test_several_services_share_one_archive(tmp_path: Path) -> None:
    path = tmp_path / "ada.zip"
    for folder in ("auth", "blog"):
        with archive_at(path, folder, AT) as archive:
            archive.add_readme("What is in it.\n")
            archive.add("one", {"at": AT})
            archive.add("nothing", None)
            await archive.add_rows("none", rows(0))
            await archive.add_rows("many", rows(3))

    assert path.stat().st_mode & 0o077 == 0
    with ZipFile(path) as file:
        assert file.testzip() is None
        assert len(file.namelist()) == 10
        for folder in ("auth", "blog"):
            read = {
                name: json.loads(file.read(f"{folder}/{name}.json"))
                for name in ("one", "nothing", "none", "many")
            }
            assert read["one"] == {"at": "2026-11-30T12:00:00.000000Z"}
            assert (read["nothing"], read["none"]) == (None, [])
            assert [row["number"] for row in read["many"]] == [0, 1, 2]
            assert read["many"][0]["text"] == "Grüße\n"


def test_a_part_is_not_added_twice(tmp_path: Path) -> None:
    path = tmp_path / "ada.zip"
    with archive_at(path, "auth", AT) as archive:
        archive.add_readme("x")
    before = path.read_bytes()
    with (
        pytest.raises(OperatorError, match="has the part auth already"),
        archive_at(path, "auth", AT),
    ):
        pass
    assert path.read_bytes() == before


def test_no_other_file_is_overwritten_and_a_failure_leaves_none(tmp_path: Path) -> None:
    other, new = tmp_path / "notes.txt", tmp_path / "new.zip"
    other.write_text("mine")
    with pytest.raises(OperatorError, match="not a zip archive"), archive_at(other, "auth", AT):
        pass
    with pytest.raises(ZeroDivisionError):
        _fail(new)
    assert other.read_text() == "mine"
    assert list(tmp_path.iterdir()) == [other]


def _fail(path: Path) -> None:
    with archive_at(path, "auth", AT) as archive:
        archive.add_readme("x")
        raise ZeroDivisionError
