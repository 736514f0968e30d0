"""Write a software bill of materials: what our image installs, in CycloneDX's JSON format.

``python -m local.sbom`` writes ``.local/sbom.cdx.json`` from the lock file: every package with its
version, and the hashes of the files that an installation accepts.

Not here: what the base images bring; a scanner of images knows that.
"""

import json
import re
from importlib.metadata import version
from typing import Any, Final

from local.paths import LOCAL, ROOT

LOCK: Final = ROOT / "requirements.txt"
FILE: Final = LOCAL / "sbom.cdx.json"

_PACKAGE: Final = re.compile(
    r"^([a-z0-9._-]+)==([^\s;\\]+)[^\n\\]*((?:\s*\\\n\s+--hash=\S+)+)", re.M
)
_HASH: Final = re.compile(r"--hash=sha256:([0-9a-f]{64})")


def bill(lock: str, of_project: str) -> dict[str, Any]:
    """Return the bill for a lock file with hashes; the same each time for the same lock."""
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "component": {"type": "application", "name": "usersync", "version": of_project},
        },
        "components": [
            {
                "type": "library",
                "bom-ref": f"pkg:pypi/{name}@{of_package}",
                "name": name,
                "version": of_package,
                "purl": f"pkg:pypi/{name}@{of_package}",
                # Of each file that would do: one for each platform, and the sources.
                "hashes": [{"alg": "SHA-256", "content": each} for each in _HASH.findall(hashes)],
            }
            for name, of_package, hashes in _PACKAGE.findall(lock)
        ],
    }


def main() -> None:
    """Write the bill, and say where."""
    LOCAL.mkdir(exist_ok=True)
    FILE.write_text(json.dumps(bill(LOCK.read_text(), version("usersync")), indent=2) + "\n")
    print(f"file://{FILE}")


if __name__ == "__main__":
    main()
