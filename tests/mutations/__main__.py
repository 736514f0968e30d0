"""Take defences out one at a time, and show that the tests notice each.

    python -m tests.mutations            every defence
    python -m tests.mutations token      those with this word in their name or file

The files are changed in place, one at a time, and restored. Exit code 1: a defence is missed, or
its line is gone and the table has to follow the code.
"""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.mutations.defences import DEFENCES, Defence
from tests.support.programs import python

ROOT = Path(__file__).parents[2]
TIMEOUT_SECONDS = 900

FAILED = 1  # pytest's exit code for tests that fail; others are no verdict


@contextmanager
def removed(defence: Defence) -> Iterator[None]:
    """Take a defence out of its file within the block."""
    file = ROOT / defence.file
    before = file.read_text()
    file.write_text(before.replace(defence.line, defence.without))
    try:
        yield
    finally:
        file.write_text(before)


def problem(defence: Defence) -> str | None:
    """Say why a defence cannot be taken out, or return None."""
    file = ROOT / defence.file
    if not file.exists():
        return f"{defence.file} does not exist"
    found = file.read_text().count(defence.line)
    return None if found == 1 else f"{defence.file} has this {found} times: {defence.line.strip()}"


def verdict(defence: Defence) -> str:
    """Run the tests of a defence without it; the first that failed, or what went wrong."""
    words = ("-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "--no-header", "--tb=no")
    with removed(defence):
        try:
            ended = python(*words, *defence.tests.split(), cwd=ROOT, timeout=TIMEOUT_SECONDS)
        except subprocess.TimeoutExpired:
            return f"NO VERDICT within {TIMEOUT_SECONDS} s"
    if ended.returncode == 0:
        return f"MISSED by {defence.tests}"
    failed = [line for line in ended.stdout.splitlines() if line.startswith("FAILED ")]
    if ended.returncode != FAILED or not failed:
        return f"NO VERDICT: pytest ended with {ended.returncode}\n{ended.stdout[-2000:]}"
    return f"caught by {failed[0].removeprefix('FAILED ').partition(' - ')[0]}"


def main(words: list[str]) -> int:
    """Check the defences that match one of ``words``, or all of them."""
    chosen = [
        defence
        for defence in DEFENCES
        if not words or any(word in f"{defence.name} {defence.file}" for word in words)
    ]
    bad = 0
    for defence in chosen:
        said = problem(defence) or verdict(defence)
        bad += not said.startswith("caught")
        print(f"{defence.name}: {said}", flush=True)
    print(f"{len(chosen) - bad} of {len(chosen)} defences are caught")
    return 1 if bad or not chosen else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
