"""The metadata that every table of the auth database belongs to."""

from typing import Final

from service_kit.database.schema import new_metadata

metadata: Final = new_metadata()
