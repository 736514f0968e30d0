"""The blog's service account in a system that ``make up`` started."""

from pathlib import Path

import pytest

from local import account
from local.system import processes
from tests.support.local_addresses import ADDRESSES

ID, KEY = "svc_4fJk0Zr9QmWc2xLp", "usersync_7hQ2mZx0RkTb_secret_check"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(account, "FOLDER", tmp_path)
    return tmp_path


def test_only_the_blog_gets_its_api_key(folder: Path) -> None:
    """A new key does not restart a process of the auth service."""
    before = {each.name: each.settings for each in processes(ADDRESSES)}
    (folder / "service-id").write_text(ID)
    (folder / "api-key").write_text(KEY)

    after = {each.name: each.settings for each in processes(ADDRESSES)}

    assert {name for name in after if after[name] != before[name]} == {"blog-api", "consumer"}
    assert after["consumer"]["BLOG_SERVICE_ID"] == ID
    assert after["consumer"]["BLOG_API_KEY"] == KEY
    assert after["consumer"]["BLOG_AUTH_URL"] == "http://127.0.0.1:8001"
    assert not [name for name in after["auth-api"] if name.startswith("BLOG_")]


def test_make_env_exports_the_api_key(folder: Path) -> None:
    """``blog-service reconcile`` needs nothing else."""
    (folder / "service-id").write_text(ID)
    (folder / "api-key").write_text(KEY)
    exports = ADDRESSES.exports().splitlines()
    assert {f"export BLOG_SERVICE_ID={ID}", f"export BLOG_API_KEY={KEY}"} <= set(exports)


@pytest.mark.usefixtures("folder")
def test_nothing_is_exported_before_the_first_start() -> None:
    """An unset variable is better than an empty one."""
    assert "BLOG_API_KEY" not in ADDRESSES.exports()
