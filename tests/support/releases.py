"""The code of an earlier commit, to run beside that of this checkout."""

import io
import subprocess
import tarfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy.engine import make_url

from local.postgres_server import PostgresServer
from tests.support.database_roles import prefix
from tests.support.databases import ROOT, SERVICES, migrate
from tests.support.processes import run
from tests.support.programs import python
from tests.support.system import System

RELEASE = "59f7de2"
"""0.1.0, which has no tag yet: the release that an upgrade starts from."""

BEFORE_RELEASES = "fae9091"
"""A commit before the first release, whose processes have to work on the newest schema as well."""

FIRST_CHAIN = "fd611ed"
"""The last commit whose revisions kept writers out, and the revisions that were its newest."""
FIRST_CHAIN_HEADS = {"auth": "0023", "blog": "0016"}


def code_of(commit: str, folder: Path) -> Path:
    """Write the files of a commit into a new folder, and return it.

    Programs run this code with ``PYTHONPATH`` set to the folder, and with the libraries of today.
    """
    archived = subprocess.run(
        ["git", "-C", str(ROOT), "archive", "--format=tar", commit], capture_output=True
    )
    if archived.returncode != 0:
        pytest.fail(
            f"this clone lacks the commit {commit}, whose code the test runs"
            f" ({archived.stderr.decode().strip()}): clone with the whole history, or complete it"
            " with git fetch --unshallow"
        )
    target = folder / commit
    with tarfile.open(fileobj=io.BytesIO(archived.stdout)) as archive:
        archive.extractall(target, filter="data")
    return target


@contextmanager
def migrated_by(code: Path, system: System, postgres: PostgresServer) -> Iterator[System]:
    """Yield the system with the installed programs, on new databases that earlier code migrated.

    Processes run that code if they get ``PYTHONPATH``.

    Parameters:
        code: the folder of ``code_of``.
    """
    told = python(
        "-c",
        "import auth_service; print(auth_service.__file__)",
        env={"PYTHONPATH": str(code)},
        cwd=code,
    )
    assert told.stdout.startswith(str(code)), told.stdout + told.stderr
    urls = []
    for service, url in zip(SERVICES, (system.auth_url, system.blog_url), strict=True):
        name = f"{make_url(url).database}_{code.name}"
        postgres.drop_database(name)
        postgres.create_database(name)
        urls.append(postgres.url(name))
        settings = {
            f"{service.upper()}_DATABASE_URL": urls[-1],
            f"{service.upper()}_DATABASE_ROLES": prefix(service),
            "PYTHONPATH": str(code),
        }
        done = run(f"alembic -n {service} upgrade head", settings, code, installed=True)
        assert done.returncode == 0, done.stdout + done.stderr
    yield replace(system, auth_url=urls[0], blog_url=urls[1], installed=True)
    for url in urls:
        postgres.drop_database(make_url(url).database or "")


def migrate_both(system: System) -> None:
    """Run the newest migrations of both databases at once."""
    urls = (system.auth_url, system.blog_url)
    with ThreadPoolExecutor() as threads:
        list(threads.map(migrate, SERVICES, urls))
