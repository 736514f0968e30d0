"""Write the reference of the libraries from their docstrings, one Markdown page per package.

A Sphinx extension. It reads the source without importing it, writes ``docs/reference/`` (which git
ignores) before Sphinx looks for pages, and leaves a page that has not changed alone, so that Sphinx
does not build it again.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import griffe
from sphinx.application import Sphinx

PACKAGES: Final = ("contracts", "service_kit", "replica")

_NO_LIBRARY: Final = frozenset({"commands", "routes"})
"""Modules that the command line and HTTP document themselves."""


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the extension."""
    app.connect("builder-inited", lambda app: write(Path(app.srcdir)))
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def write(root: Path) -> None:
    """Write the pages of all packages below ``root``; remove those of packages that are gone."""
    folder = root / "docs/reference"
    folder.mkdir(exist_ok=True)
    pages = {
        folder / f"{package.path}.md": "\n".join(_page(package))
        for name in PACKAGES
        for package in _packages(
            griffe.load(
                name, search_paths=[root], allow_inspection=False, docstring_parser="google"
            )
        )
    }
    for gone in set(folder.iterdir()) - set(pages):
        gone.unlink()
    for path, text in pages.items():
        if not path.exists() or path.read_text() != text:
            path.write_text(text)


def _packages(package: griffe.Object | griffe.Alias) -> Iterator[griffe.Object | griffe.Alias]:
    yield package
    for module in _modules(package):
        if module.is_init_module:
            yield from _packages(module)


def _modules(package: griffe.Object | griffe.Alias) -> list[griffe.Object | griffe.Alias]:
    names = (name for name in sorted(package.modules) if not name.startswith("_"))
    return [package[name] for name in names if name not in _NO_LIBRARY]


def _page(package: griffe.Object | griffe.Alias) -> Iterator[str]:
    yield f"# {package.path}\n"
    yield from _text(package)
    yield from _members(package)
    below = [module.path for module in _modules(package) if module.is_init_module]
    if below:
        yield from ("```{toctree}", ":maxdepth: 1", *below, "```\n")
    for module in _modules(package):
        if not module.is_init_module:
            yield f"## {module.path}\n"
            yield from _text(module)
            yield from _members(module)


def _members(owner: griffe.Object | griffe.Alias) -> Iterator[str]:
    for name, member in owner.members.items():
        if member.is_alias or member.is_module or name.startswith("_") or not member.docstring:
            continue
        yield f"```python\n{_signature(member)}\n```\n"
        yield from _text(member)
        if member.is_class:
            yield from _members_of_a_class(member)


def _members_of_a_class(owner: griffe.Object | griffe.Alias) -> Iterator[str]:
    for name, member in owner.members.items():
        if not name.startswith("_") and member.docstring:
            yield f"`{owner.name}.{_signature(member)}`\n"
            yield from _text(member)


def _signature(member: griffe.Object | griffe.Alias) -> str:
    if isinstance(member, griffe.Function):
        return f"{'async ' if 'async' in member.labels else ''}{member.signature()}"
    if isinstance(member, griffe.Class):
        return f"class {member.signature()}"
    annotation = getattr(member, "annotation", None)
    return f"{member.name}: {annotation}" if annotation else member.name


def _text(owner: griffe.Object | griffe.Alias) -> Iterator[str]:
    for section in owner.docstring.parsed if owner.docstring else ():
        if isinstance(section, griffe.DocstringSectionText | griffe.DocstringSectionAdmonition):
            value = section.value
            yield value if isinstance(value, str) else f"{section.title}: {value.contents}"
        else:
            yield f"**{section.kind.value.capitalize()}**\n"
            for item in section.value:
                named = getattr(item, "name", None) or item.annotation
                yield f"- `{named}`: " + " ".join(item.description.split())
        yield ""
