"""Test previews, and that posts and comments look like theirs."""

import pytest

from blog_service.settings import ApiSettings
from service_kit.process.rates import Rate
from tests.support.auth_api import assert_problem
from tests.support.content import People

TEXT = "# A <b>title</b>\n\n[x](javascript:alert(1)) https://example.org"
HTML = (
    "<{0}>A &lt;b&gt;title&lt;/b&gt;</{0}>\n<p>[x](javascript:alert(1)) "
    '<a href="https://example.org" rel="nofollow ugc noopener noreferrer">https://example.org</a>'
    "</p>\n"
)


@pytest.fixture
def blog_settings(blog_settings: ApiSettings) -> ApiSettings:
    return blog_settings.model_copy(update={"limit_previews": Rate(3, 3600)})


async def test_a_text_looks_as_in_its_preview(people: People) -> None:
    """Headings of a comment are below those of a post."""
    ada = await people.user()
    for kind, heading in (("post", "h2"), ("comment", "h3")):
        shown = await people.done(ada, "POST", "/v1/preview", {"body": TEXT, "kind": kind})
        assert shown == {"body_html": HTML.format(heading)}

    post = await people.post(ada, body=TEXT)
    comment = await people.comment(ada, post, TEXT)
    assert post["body_html"] == HTML.format("h2")
    assert comment["body_html"] == HTML.format("h3")
    page = await people.done(None, "GET", f"/v1/posts/{post['id']}/comments")
    assert page["items"] == [comment]
    changed = await people.done(ada, "PATCH", f"/v1/posts/{post['id']}", {"body": "*Again*"})
    assert changed["body_html"] == "<p><em>Again</em></p>\n"
    assert changed["excerpt"] == "Again"


async def test_a_preview_is_refused_without_a_user_and_over_the_limit(people: People) -> None:
    """And for a text that could not be written either."""
    ada, eve = await people.user(), await people.user()
    asked = ("POST", "/v1/preview")
    assert_problem(await people.ask(None, *asked, {"body": "a"}), 401, "authentication_required")
    assert_problem(await people.ask("svc_importer", *asked, {"body": "a"}), 403, "user_required")
    for body in ({"body": "\u202ea"}, {"body": "x" * 20_001}, {"body": "a", "kind": "page"}):
        assert_problem(await people.ask(ada, *asked, body), 422, "invalid_request")

    for _ in range(3):
        await people.done(ada, *asked, {"body": "a"})
    refused = await people.ask(ada, *asked, {"body": "a"})
    assert_problem(refused, 429, "too_many_requests")
    assert refused.json()["violated-policies"] == ["previews"]
    await people.done(eve, *asked, {"body": "a"})
