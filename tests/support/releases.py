"""The code of an earlier commit, to run beside that of this checkout."""

import io
import subprocess
import tarfile
from pathlib import Path

import pytest

from tests.support.databases import ROOT

PREVIOUS_RELEASE = "fae9091"
"""The commit whose processes have to work on the newest schema: the tag of the last release. There
is none yet; this commit is three revisions of the auth database back, and one of the blog's."""

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
