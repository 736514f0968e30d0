"""The tables of maintained digests.

Written by the triggers of ``users`` and by ``service_kit.database.digests``.
"""

from typing import Final

from auth_service.db import metadata
from service_kit.database.digests.read import UsersTable
from service_kit.database.digests.tables import digest_tables

TABLES: Final = digest_tables(metadata)

USERS: Final = UsersTable("users")
