"""The addresses of the blog's pages and feeds, and what is read for each."""

from collections.abc import Awaitable, Callable, Sequence
from email.utils import format_datetime
from typing import Any, Final
from uuid import UUID

from markupsafe import Markup
from pydantic import TypeAdapter, ValidationError
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from blog_service import web
from blog_service.comments.read import comments_page
from blog_service.context import Context
from blog_service.pages.feed import ATOM, Feed, atom, updated
from blog_service.pages.templates import SITE, Templates, name_of
from blog_service.posts.read import post_by_id, post_document, posts_page
from blog_service.profiles.author import author_document
from blog_service.profiles.bodies import PublicUserBody
from blog_service.profiles.read import user_with_profile
from blog_service.settings import ApiSettings
from blog_service.texts import SearchWords
from service_kit.database.alone import RowLike
from service_kit.database.away import DATABASE_AWAY, Cause, cause_of
from service_kit.http import problems
from service_kit.http.errors import RETRY_AFTER_SECONDS
from service_kit.http.pagination import NumberCursor, cursor_after
from service_kit.http.problems import Problem
from service_kit.http.static_pages import MEDIA_TYPES, unless_unchanged

ITEMS: Final = 20
"""Posts or comments on a page, as the scripts ask for them, and posts in a feed."""

WITH_SCRIPTS_ONLY: Final = (
    *("/write", "/posts/{post_id:uuid}/edit", "/account", "/sign-in", "/sign-up", "/forgot"),
)
"""Views that need JavaScript. They show no content that anybody could read."""

_CURSOR: Final = TypeAdapter[int](NumberCursor)
_WORDS: Final = TypeAdapter[str](SearchWords)

_Page = Callable[[Request], Awaitable[Response]]


def routes(settings: ApiSettings) -> list[Route]:
    """Return the routes of all pages and feeds; none is in the OpenAPI."""
    pages = Pages(settings)
    by_path: dict[str, _Page] = {
        "/": pages.posts,
        "/posts/{post_id:uuid}": pages.post,
        "/users/{user_id:uuid}": pages.author,
        "/search": pages.search,
        "/feed.atom": pages.feed,
        "/users/{user_id:uuid}/feed.atom": pages.feed_of_author,
        **dict.fromkeys(WITH_SCRIPTS_ONLY, pages.with_scripts_only),
    }
    return [
        Route(path, pages.or_why_not(page), include_in_schema=False)
        for path, page in by_path.items()
    ]


class Pages:
    """Makes the responses.

    Parameters:
        settings: of the API, with the public addresses of both services.
    """

    def __init__(self, settings: ApiSettings) -> None:
        self._templates = Templates(settings)
        self._headers = web.headers(settings) | {"Content-Type": MEDIA_TYPES[".html"]}

    def or_why_not(self, page: _Page) -> _Page:
        """Let a page say that nothing is at its address, or that the database is away."""

        async def get(request: Request) -> Response:
            try:
                return await page(request)
            except Problem as problem:
                if problem.code is not problems.NOT_FOUND:
                    raise
                return self._failed("missing.html", problems.NOT_FOUND.status)
            except DATABASE_AWAY as error:
                if cause_of(error) is not Cause.DATABASE:
                    raise
                response = self._failed("away.html", problems.UNAVAILABLE.status)
                response.headers["Retry-After"] = RETRY_AFTER_SECONDS
                return response

        return get

    async def posts(self, request: Request) -> Response:
        """Show the latest posts, or those before a cursor."""
        found = await _posts(_blog(request), before=_cursor(request))
        return self._shown(request, "posts.html", posts=_documents(found), rest=_rest(found))

    async def post(self, request: Request) -> Response:
        """Show a post and its first comments, or those after a cursor."""
        blog, post_id = _blog(request), _id(request, "post_id")
        async with blog.engine.connect() as connection:
            post = await post_by_id(connection, blog.settings.deleted_authors, post_id)
        found = await comments_page(
            blog.reader,
            blog.settings.deleted_authors,
            post_id,
            limit=ITEMS + 1,
            after=_cursor(request),
        )
        comments = found[:ITEMS]
        html = await blog.renderer.comments([comment["body"] for comment in comments])
        return self._shown(
            request,
            "post.html",
            post=post_document(post),
            html=_safe(await blog.renderer.post(post["body"])),
            comments=[
                {
                    "author": author_document(comment),
                    "html": _safe(rendered),
                    "created_at": comment["created_at"],
                    "updated_at": comment["updated_at"],
                }
                for comment, rendered in zip(comments, html, strict=True)
            ],
            rest=_rest(found),
        )

    async def author(self, request: Request) -> Response:
        """Show an author and their posts."""
        blog = _blog(request)
        author = await _author(blog, request)
        found = await _posts(blog, before=_cursor(request), author_id=author["id"])
        return self._shown(
            request, "author.html", author=author, posts=_documents(found), rest=_rest(found)
        )

    async def search(self, request: Request) -> Response:
        """Show the posts that have the words of the query."""
        blog, words = _blog(request), _words(request)
        found: Sequence[RowLike] = []
        if words is not None:
            found = await posts_page(
                blog.searcher,
                blog.settings.deleted_authors,
                limit=ITEMS + 1,
                before=_cursor(request),
                words=words,
            )
        return self._shown(
            request, "search.html", words=words, posts=_documents(found), rest=_rest(found)
        )

    async def feed(self, request: Request) -> Response:
        """Return the feed of all posts."""
        return await self._feed(request, await _posts(_blog(request)), SITE, "/")

    async def feed_of_author(self, request: Request) -> Response:
        """Return the feed of an author's posts."""
        blog = _blog(request)
        author = await _author(blog, request)
        found = await _posts(blog, author_id=author["id"])
        title = f"{name_of(author)} · {SITE}"
        return await self._feed(request, found, title, f"/users/{author['id']}")

    async def with_scripts_only(self, request: Request) -> Response:
        """Return a page whose content the scripts build."""
        return self._shown(request, "scripts.html")

    async def _feed(
        self, request: Request, found: Sequence[RowLike], title: str, page: str
    ) -> Response:
        blog, posts = _blog(request), found[:ITEMS]
        html = await blog.renderer.posts([post["body"] for post in posts])
        documents = _documents(posts)
        content = atom(Feed.at(blog.settings, title, page), documents, html)
        headers = {
            "Content-Type": ATOM,
            "Cache-Control": "no-cache",
            # For people: a deletion changes the feed and not this time, so the tag alone decides.
            "Last-Modified": format_datetime(updated(documents), usegmt=True),
        }
        return unless_unchanged(request, content, headers)

    def _shown(self, request: Request, template: str, **values: Any) -> Response:
        path, cursor = request.url.path, request.query_params.get("cursor")
        here = path if cursor is None else f"{path}?cursor={cursor}"
        content = self._templates.render(template, path=path, here=here, **values)
        return unless_unchanged(request, content, self._headers)

    def _failed(self, template: str, status: int) -> Response:
        return Response(self._templates.render(template), status, self._headers)


def _blog(request: Request) -> Context:
    context: Context = request.app.state.context
    return context


def _id(request: Request, name: str) -> UUID:
    """Return an id of the path; only its usual form has a page, so that each has one address."""
    found: UUID = request.path_params[name]
    if str(found) not in request.url.path:
        raise Problem(problems.NOT_FOUND)
    return found


def _cursor(request: Request) -> int | None:
    cursor = request.query_params.get("cursor")
    try:
        return None if cursor is None else _CURSOR.validate_python(cursor)
    except ValidationError:
        raise Problem(problems.NOT_FOUND) from None


def _words(request: Request) -> str | None:
    try:
        return _WORDS.validate_python(request.query_params.get("q", ""))
    except ValidationError:
        return None


async def _posts(
    blog: Context, *, before: int | None = None, author_id: UUID | None = None
) -> Sequence[RowLike]:
    return await posts_page(
        blog.reader,
        blog.settings.deleted_authors,
        limit=ITEMS + 1,
        before=before,
        author_id=author_id,
    )


async def _author(blog: Context, request: Request) -> dict[str, Any]:
    async with blog.engine.connect() as connection:
        found = await user_with_profile(connection, _id(request, "user_id"))
    if found is None:
        raise Problem(problems.NOT_FOUND)
    return PublicUserBody.model_validate(found).model_dump()


def _documents(found: Sequence[RowLike]) -> list[dict[str, Any]]:
    return [post_document(row) for row in found[:ITEMS]]


def _rest(found: Sequence[RowLike]) -> str | None:
    """Return the cursor of the next page; None on the last one."""
    return cursor_after(found[ITEMS - 1]["position"]) if len(found) > ITEMS else None


def _safe(html: str) -> Markup:
    """Mark the HTML of ``markdown`` as such; everything else is escaped."""
    return Markup(html)  # noqa: S704 - sanitized
