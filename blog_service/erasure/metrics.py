"""The metrics of erasure: what is due, and what was erased."""

from prometheus_client import Counter
from sqlalchemy.ext.asyncio import AsyncConnection

from blog_service.erasure.due import count_due
from blog_service.erasure.model import Swept
from service_kit.process.readings import Reading

due = Reading(
    "usersync_sweep_due", "Tombstones and deleted posts whose content is yet to be erased"
)
erased = Counter("usersync_sweep_erased_rows", "Rows that were erased, by kind", ["kind"])
profiles, posts, comments = (erased.labels(kind=kind) for kind in ("profile", "post", "comment"))


def count(swept: Swept) -> None:
    """Add the rows that a round has erased."""
    profiles.inc(swept.profiles)
    posts.inc(swept.posts)
    comments.inc(swept.comments)


async def refresh(connection: AsyncConnection) -> None:
    """Read the gauge from the database."""
    due.set(await count_due(connection))
