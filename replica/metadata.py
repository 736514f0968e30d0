"""The metadata of the replica's own tables; the table of users belongs to the service."""

from typing import Final

from service_kit.database.schema import new_metadata

metadata: Final = new_metadata()
