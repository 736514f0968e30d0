"""The checked-in schemas match the models."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

import contracts
from tests.support.programs import python

CONTRACTS = Path(contracts.__file__).parent


def schemas(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run ``python -m contracts.events.write_schemas`` on the package in ``folder``."""
    return python("-m", "contracts.events.write_schemas", *arguments, cwd=folder)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    shutil.copytree(CONTRACTS, tmp_path / "contracts")
    return tmp_path


def test_the_checked_in_schemas_match_the_models() -> None:
    done = schemas("--check", folder=CONTRACTS.parent)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_check_names_missing_and_outdated_schemas_and_writing_fixes_them(copy: Path) -> None:
    """Without ``--check`` the command writes all schemas, and a second check succeeds."""
    folder = copy / "contracts" / "events" / "schemas"
    outdated = json.loads((folder / "user.deleted.v1.json").read_text()) | {"required": ["id"]}
    (folder / "user.deleted.v1.json").write_text(json.dumps(outdated))
    (folder / "sync.heartbeat.v1.json").unlink()

    before = schemas("--check", folder=copy)
    written = schemas(folder=copy)
    after = schemas("--check", folder=copy)

    assert before.returncode == 1
    assert "sync.heartbeat.v1.json, user.deleted.v1.json" in before.stderr
    assert (written.returncode, after.returncode) == (0, 0)


def test_check_names_a_leftover_schema(copy: Path) -> None:
    """Someone has to decide to delete the schema of a type that no longer exists."""
    (copy / "contracts" / "events" / "schemas" / "user.merged.v1.json").write_text("{}")
    done = schemas("--check", folder=copy)
    assert done.returncode == 1
    assert "user.merged.v1.json" in done.stderr
