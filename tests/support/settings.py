"""Settings that differ from those of a fixture."""

from typing import Any, TypeVar

from pydantic_settings import BaseSettings

S = TypeVar("S", bound=BaseSettings)


def having(settings: S, **changes: Any) -> S:
    """Return a copy with other values, which are not validated."""
    return settings.model_copy(update=changes)
