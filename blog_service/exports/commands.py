"""The command ``blog-service users export``."""

from typing import TYPE_CHECKING
from uuid import UUID

import typer

from service_kit.database.commands import on_database
from service_kit.process.errors import OperatorError
from service_kit.process.export_options import ExportedUser, Into
from service_kit.process.load import load
from service_kit.process.terminal import failing_with_a_sentence

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

app = typer.Typer()


@app.command(
    epilog="Example: blog-service users export 0b6f1c1e-4a3f-4e43-8a4a-8f0b8b3b4a52 --into ada.zip"
)
@failing_with_a_sentence
def export(
    user: ExportedUser,
    into: Into,
) -> None:
    """Export what this service knows of a user, as a part of a zip archive of JSON."""
    from datetime import UTC, datetime

    from blog_service.exports.export import FOLDER, NotHere, export_user
    from blog_service.settings import DatabaseSettings
    from service_kit.process.archive import archive_at

    async def write(engine: "AsyncEngine") -> None:
        with archive_at(into, FOLDER, datetime.now(UTC)) as archive:
            async with engine.connect() as connection:
                await export_user(connection, UUID(user), archive)

    try:
        on_database(load(DatabaseSettings), write)
    except NotHere:
        raise OperatorError("no user has this id") from None
    print(into)
