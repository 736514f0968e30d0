"""Checkouts do not affect each other, whichever settings a shell has exported."""

import os
import shlex
import shutil
from pathlib import Path

import pytest

from local import addresses
from local.addresses import Addresses
from local.errors import LocalError
from local.faults.api import Settings
from local.pids import StartedProcess
from local.ports import LOOPBACK
from tests.support.checkouts import copied
from tests.support.local_addresses import ADDRESSES
from tests.support.programs import python, ran

ROOT = Path(__file__).parents[2]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Copy what starts the system to another checkout, in a path with blanks."""
    return copied(tmp_path / "another checkout")


def exported(text: str) -> dict[str, str]:
    words = [shlex.split(line) for line in text.splitlines()]
    assert {word[0] for word in words} == {"export"}
    return dict(word[1].split("=", 1) for word in words)


def test_exports_name_their_checkout() -> None:
    assert exported(ADDRESSES.exports())["LOCAL_CHECKOUT"] == str(ROOT)


def test_exports_of_another_checkout_stop_a_command(checkout: Path) -> None:
    """Before any file is created or process started, on any server."""
    settings = os.environ | exported(ADDRESSES.exports())
    for command in ("up", "demo", "status", "servers"):
        refused = python("-m", "local", command, cwd=checkout, env=settings)
        assert (refused.returncode, refused.stdout) == (1, ""), command
        for part in (str(ROOT), str(checkout), 'eval "$(make -s unset)"'):
            assert part in refused.stderr
    assert not (checkout / ".local").exists()


def test_the_tests_refuse_exports_of_another_checkout() -> None:
    """Otherwise they would create databases on its server."""
    settings = exported(ADDRESSES.exports()) | {"LOCAL_CHECKOUT": "/another/checkout"}
    words = ("-m", "pytest", "--collect-only", "-q")
    refused = python(*words, cwd=ROOT, env=os.environ | settings)
    assert refused.returncode == pytest.ExitCode.USAGE_ERROR
    assert "/another/checkout" in refused.stderr


def test_the_remedy_unsets_all_exports(checkout: Path) -> None:
    """Run as the message says, in a checkout that is not set up; other variables stay."""
    settings = os.environ | exported(ADDRESSES.exports()) | {"KEPT": "yes"}
    left = ran("sh", "-c", 'eval "$(make -s unset)"; env', cwd=checkout, env=settings)
    names = {line.partition("=")[0] for line in left.stdout.splitlines()}
    assert "KEPT" in names
    assert not {name for name in names if name.startswith(("AUTH_", "BLOG_", "LOCAL_CHECKOUT"))}


def test_no_export_opens_the_fault_injector_to_the_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """It listens where only this machine reaches it, for our own page."""
    for name, value in (("HOST", "0.0.0.0"), ("CORS_ORIGINS", "https://elsewhere.example")):
        monkeypatch.setenv(f"FAULTS_{name}", value)
    settings = Settings(port=8013)
    assert (settings.host, settings.cors_origins) == (LOOPBACK, ())


def test_a_copied_checkout_does_not_use_the_processes_of_the_original(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It neither stops, shows nor exports them; only the issuer belongs to the data."""
    first, copy = tmp_path / "first.json", tmp_path / "copy.json"
    running = StartedProcess.of(os.getpid())
    running.save(first)
    shutil.copy(first, copy)

    assert StartedProcess.load(first) == running
    assert StartedProcess.load(copy) is None

    monkeypatch.setattr(addresses, "_FILE", tmp_path / "system.json")
    Addresses(**vars(ADDRESSES) | {"checkout": "/the/first"}).save()
    copied = Addresses.load()
    assert copied is not None
    assert copied.issuer == ADDRESSES.issuer
    with pytest.raises(LocalError, match="never started here"):
        Addresses.current()
