"""How the tables of a service name their constraints and indexes."""

from typing import Final

NAMING: Final = {
    "pk": "%(table_name)s_pkey",
    "uq": "%(table_name)s_%(column_0_name)s_key",
    "ix": "%(table_name)s_%(column_0_name)s_idx",
    "ck": "%(table_name)s_%(constraint_name)s_check",
}
"""As PostgreSQL itself would, for ``MetaData``."""
