"""The HTTP endpoint by which users export their own data."""

from typing import Final

from fastapi import APIRouter
from fastapi.responses import StreamingResponse

from blog_service.context import Blog
from blog_service.exports.export import FOLDER, NotHere, export_user
from replica.caller import CurrentUser
from service_kit.http import problems
from service_kit.http.bearer import invalid_token
from service_kit.http.downloads import AN_ARCHIVE
from service_kit.http.openapi import TOKEN, documented
from service_kit.process.archive import Archive

router: Final = APIRouter(prefix="/v1", tags=["users"])


@router.get(
    "/me/export",
    summary="Export your data",
    response_class=StreamingResponse,
    responses=AN_ARCHIVE
    | documented(*TOKEN, problems.EXPORT_TOO_LARGE, problems.TOO_MANY_REQUESTS),
)
async def get_export(user: CurrentUser, blog: Blog) -> StreamingResponse:
    """What this service knows of you, as a zip archive of JSON."""

    async def write(archive: Archive) -> None:
        blog.export_limit.spend(user.id)
        async with blog.engine.connect() as connection:
            await export_user(connection, user.id, archive)

    try:
        return await blog.downloads.archive_response(FOLDER, f"{FOLDER}-{user.id}.zip", write)
    except NotHere:  # deleted since the token was verified
        raise invalid_token() from None
