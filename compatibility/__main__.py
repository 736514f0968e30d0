"""Commands for maintainers: ``write``, ``check`` and ``release``."""

import argparse
import sys
from collections.abc import Iterable

from compatibility import documents, promises
from compatibility.schemas import NotCompared
from compatibility.verdict import Verdict, decide
from service_kit.process.version import VERSION


def main(arguments: list[str]) -> int:
    """Run a command; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m compatibility", description="Documents of the contracts, and their check."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("write", help="write the AsyncAPI and OpenAPI documents from the code")
    commands.add_parser("check", help="fail on an outdated document or a broken promise")
    commands.add_parser(
        "release", help="at a release: make what the code promises now the last release's promise"
    )
    command = parser.parse_args(arguments).command
    if command == "write":
        documents.write()
        return 0
    try:
        if command == "check":
            return check()
        promises.release()
        return 0
    except (promises.NotReleased, promises.AlreadyReleased, NotCompared) as error:
        _print([str(error)])
        return 1


def check() -> int:
    """Print what is wrong, and what to do; return the exit code."""
    troubles = list(documents.troubles())
    _print(troubles)
    now = promises.present()
    version, old = promises.released(now.keys())
    verdict = decide(
        promises.changes(old, now),
        promises.ACCEPTED_BREAKS.read_text(),
        released=version,
        present=VERSION,
    )
    _print(f"changed since {version}: {change}" for change in verdict.reported)
    _print(_advice(verdict, version))
    return 0 if verdict.is_good and not troubles else 1


def _advice(verdict: Verdict, version: str) -> Iterable[str]:
    file = promises.ACCEPTED_BREAKS.relative_to(promises.ROOT)
    yield from (f"breaks {version}: {change}" for change in verdict.refused)
    yield from (f"{file}: {line}" for line in verdict.wrong_lines)
    if verdict.refused:
        yield (
            f"Make these changes compatible. To break on purpose, add a line to {file}: the"
            ' sentence up to its semicolon, " because " and the reason (docs/contracts.md).'
        )


def _print(lines: Iterable[str]) -> None:
    for line in lines:
        print(line, file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
