"""Write the pages of the AsyncAPI and OpenAPI documents before Sphinx looks for pages.

A Sphinx extension. It reads the checked-in documents and writes ``docs/interfaces/``, which git
ignores; a page that has not changed is left alone, so that Sphinx does not build it again.
"""

import json
from pathlib import Path

from sphinx.application import Sphinx

from compatibility.pages import events, http


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the extension."""
    app.connect("builder-inited", lambda app: write(Path(app.srcdir)))
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def write(root: Path) -> None:
    """Write all pages below ``root``."""
    folder = root / "docs/interfaces"
    folder.mkdir(exist_ok=True)
    for name, text in _pages(root / "contracts").items():
        path = folder / f"{name}.md"
        if not path.exists() or path.read_text() != text:
            path.write_text(text)


def _pages(contracts: Path) -> dict[str, str]:
    pages = {
        path.stem: http.page(json.loads(path.read_text()), f"/contracts/openapi/{path.name}")
        for path in sorted((contracts / "openapi").glob("*.json"))
    }
    asyncapi = json.loads((contracts / "events/asyncapi.json").read_text())
    for message in asyncapi["components"]["messages"].values():
        schema = contracts / "events" / message["payload"]["$ref"]
        message["payload"] = json.loads(schema.read_text())
    pages["events"] = events.page(asyncapi, "/contracts/events/asyncapi.json")
    return {name: "\n".join(lines) for name, lines in pages.items()}
