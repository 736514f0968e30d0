"""The HTTP endpoint of previews."""

from typing import Final

from fastapi import APIRouter

from blog_service.context import Blog
from blog_service.previews.bodies import NewPreviewBody, PreviewBody
from blog_service.rendering import COMMENT_HEADINGS, POST_HEADINGS
from replica.caller import CurrentUser
from service_kit.http import problems
from service_kit.http.openapi import TOKEN, documented

router: Final = APIRouter(prefix="/v1", tags=["posts"])


@router.post(
    "/preview",
    summary="Preview a text",
    responses=documented(*TOKEN, problems.TOO_MANY_REQUESTS),
)
async def post_preview(body: NewPreviewBody, user: CurrentUser, blog: Blog) -> PreviewBody:
    """Return the HTML that a post or comment with this text would have. Nothing is stored."""
    blog.preview_limit.spend(user.id)
    headings_from = COMMENT_HEADINGS if body.kind == "comment" else POST_HEADINGS
    return PreviewBody(body_html=await blog.renderer.preview(body.body, headings_from))
