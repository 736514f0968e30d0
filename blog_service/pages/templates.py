"""Fill the templates of pages.

Guarantees: every value is escaped, except for HTML that is marked as safe (``markupsafe``).
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.resources import files
from typing import Any, Final

from jinja2 import Environment, PackageLoader, StrictUndefined

from blog_service import web
from blog_service.settings import ApiSettings

SITE: Final = "Daybook"
"""The blog's name; ``web/shell.js`` has it too."""

_IMPORTED: Final = re.compile(r'^(?:import|\}) .*from "\./([a-z_]+\.js)";$', re.MULTILINE)

HUES: Final = 8
"""Colours of avatars without a picture, as in ``web/page.css``."""


class Templates:
    """The templates, with what all of them need.

    Parameters:
        settings: of the API.
    """

    def __init__(self, settings: ApiSettings) -> None:
        self._environment = Environment(
            loader=PackageLoader("blog_service.pages"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            auto_reload=False,
        )
        self._environment.globals.update(
            site=SITE,
            auth=settings.auth_address,
            deleted_authors=settings.deleted_authors,
            public_url=settings.public_url,
            scripts=_scripts(),
        )
        self._environment.filters.update(
            name=name_of, initials=initials_of, hue=hue_of, iso=iso, day=day, month=month
        )

    def render(self, template: str, **values: Any) -> bytes:
        """Return a page."""
        return self._environment.get_template(template).render(values).encode()


def _scripts() -> list[str]:
    """Return the modules that the first one imports, directly or not: a browser loads all at once.

    Those of views that few visitors open are not among them (``app.js``).
    """
    found: list[str] = []
    waiting = ["app.js"]
    for name in waiting:
        text = (files(web) / name).read_text("utf-8")
        waiting += [each for each in _IMPORTED.findall(text) if each not in waiting]
        found.append(name)
    return sorted(found[1:])


def name_of(author: Mapping[str, Any]) -> str:
    """Return the name that readers see; users without one are shown as readers."""
    name: str | None = author["display_name"]
    return name or f"Reader {str(author['id'])[:6]}"


def initials_of(author: Mapping[str, Any]) -> str:
    """Return one or two letters in place of a picture."""
    if author["id"] is None:
        return "\N{EN DASH}"
    words = (author["display_name"] or "").split()
    if not words:
        return str(author["id"])[:2].upper()
    return "".join(word[0] for word in (words[0], *words[1:][-1:])).upper()


def hue_of(author: Mapping[str, Any]) -> str:
    """Return one of the colours, always the same for a user."""
    return "none" if author["id"] is None else str(int(str(author["id"])[:2], 16) % HUES)


def iso(at: datetime) -> str:
    """Return a time as machines read it, in UTC."""
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")


def day(at: datetime) -> str:
    """Return the day of a time, in UTC."""
    at = at.astimezone(UTC)
    return f"{at.day} {at:%B %Y}"


def month(at: datetime) -> str:
    """Return the month of a time, in UTC."""
    return f"{at.astimezone(UTC):%B %Y}"
