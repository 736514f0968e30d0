"""Write the vectors from the code.

``python -m contracts.conformance.write_vectors`` writes the files that are checked in; ``--check``
fails when they differ, so that every change of the contract shows in review.
"""

import json
import sys
from pathlib import Path
from typing import Final

from contracts.conformance import digest_cases, envelope_cases, merge_cases, token_cases

FOLDER: Final = Path(__file__).parent / "vectors"


def generate() -> dict[str, str]:
    """Map file names to vectors."""
    vectors = {
        "envelope": {"cases": envelope_cases.cases()},
        "merge": {"cases": merge_cases.cases()},
        "digests": digest_cases.table(),
        "tokens": token_cases.tokens(),
    }
    return {
        f"{name}.json": json.dumps(content, indent=1, ensure_ascii=False) + "\n"
        for name, content in vectors.items()
    }


def main(arguments: list[str]) -> int:
    """Write the vectors, or only compare them with ``--check``; return the exit code."""
    wanted = generate()
    if "--check" not in arguments:
        for name, text in wanted.items():
            (FOLDER / name).write_text(text)
        return 0
    present = {path.name: path.read_text() for path in FOLDER.glob("*.json")}
    differing = sorted(n for n in wanted.keys() | present.keys() if wanted.get(n) != present.get(n))
    if differing:
        print(f"vectors differ from the code: {', '.join(differing)}", file=sys.stderr)
        print("run: python -m contracts.conformance.write_vectors", file=sys.stderr)
    return 1 if differing else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
