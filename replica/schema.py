"""All tables of the library, for migrations and for ``metadata.create_all``."""

import replica.certificates.table
import replica.digests.table
import replica.inbox.table
import replica.keys.table
import replica.proof.table
import replica.reconcile.table
import replica.samples.table
import replica.services.table
import replica.tail.table  # noqa: F401 - the tables register themselves
from replica.metadata import metadata

__all__ = ["metadata"]
