"""The HTTP endpoint of previews."""

from typing import Final

from fastapi import APIRouter

from blog_service.context import Blog
from blog_service.previews.bodies import NewPreviewBody, PreviewBody
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
    if body.kind == "comment":
        [html] = await blog.renderer.comments([body.body])
    else:
        html = await blog.renderer.post(body.body)
    return PreviewBody(body_html=html)
