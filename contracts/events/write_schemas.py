"""Write the JSON Schemas of the events' data from the models.

``python -m contracts.events.write_schemas`` writes the files that are checked in; ``--check`` fails
when they differ from the models, so that every change of the contract shows in review.
"""

import json
import sys
from pathlib import Path

from contracts.events import DATA_OF, dataschema

FOLDER = Path(__file__).parent / "schemas"
DRAFT = "https://json-schema.org/draft/2020-12/schema"


def generate() -> dict[str, str]:
    """Map file names to schemas, one for each event type."""
    schemas = {}
    for event_type, model in DATA_OF.items():
        schema = {"$schema": DRAFT, "$id": dataschema(event_type), **model.model_json_schema()}
        major = dataschema(event_type).rpartition(":")[2]
        schemas[f"{event_type}.v{major}.json"] = json.dumps(schema, indent=2) + "\n"
    return schemas


def differing() -> list[str]:
    """List the files that are missing, outdated or left over."""
    wanted = generate()
    present = {path.name: path.read_text() for path in FOLDER.glob("*.json")}
    return sorted(n for n in wanted.keys() | present.keys() if wanted.get(n) != present.get(n))


def main(arguments: list[str]) -> int:
    """Write the schemas, or only compare them with ``--check``; return the exit code."""
    if "--check" in arguments:
        names = differing()
        if names:
            print(f"schemas differ from the models: {', '.join(names)}", file=sys.stderr)
            print("run: python -m contracts.events.write_schemas", file=sys.stderr)
        return 1 if names else 0
    for name, text in generate().items():
        (FOLDER / name).write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
