"""Test the pages that can be read without JavaScript, and the feeds."""

import re
import xml.etree.ElementTree as ET
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID, uuid4

import feedparser
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from blog_service.pages.feed import BEFORE_ANY, Feed, atom
from blog_service.pages.routes import ITEMS
from blog_service.pages.templates import initials_of, iso
from blog_service.settings import ApiSettings
from tests.support.blog_api import blog_api
from tests.support.builders import SOURCE, a_tombstone
from tests.support.content import People, people_of

ADDRESS = "https://blog.example"
HOSTILE = "</title><script>alert(1)</script>\"'><img src=x onerror=alert(1)>"


@pytest.fixture
async def people(
    blog_settings: ApiSettings, signing_key: rsa.RSAPrivateKey
) -> AsyncIterator[People]:
    settings = blog_settings.model_copy(update={"public_url": ADDRESS})
    async with people_of(settings, signing_key) as people:
        yield people


async def page(people: People, path: str, status: int = 200) -> str:
    answer = await people.client.get(path)
    assert answer.status_code == status, answer.text
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    return answer.text


def meta(html: str) -> dict[str, str]:
    """Return what a page says of itself, by name or property."""
    found = re.findall(r'<meta (?:name|property)="([^"]+)" content="([^"]*)">', html)
    found += re.findall(r'<link rel="(canonical)" href="([^"]*)">', html)
    return dict(found)


def main(html: str) -> str:
    [found] = re.findall(r"<main[^>]*>(.*)</main>", html, re.DOTALL)
    return str(found)


class TestPages:
    """What a visitor without JavaScript reads."""

    async def test_a_post_is_complete_and_says_what_it_is(self, people: People) -> None:
        """With its comments, a title, a description, and the one address it has."""
        ada, eve = await people.user(), await people.user()
        await people.done(ada, "PATCH", "/v1/me", {"display_name": "Ada Lovelace"})
        post = await people.post(ada, "On & off", "Some **bold** words.\n\n- one")
        await people.comment(eve, post, "*Indeed*, https://example.org")

        html = await page(people, f"/posts/{post['id']}")

        assert "<title>On &amp; off · Daybook</title>" in html
        address = f"{ADDRESS}/posts/{post['id']}"
        says = meta(html)
        expected = {
            "description": "Some bold words. one",
            "canonical": address,
            "og:url": address,
            "og:title": "On &amp; off",
            "og:type": "article",
            "og:site_name": "Daybook",
            "og:description": "Some bold words. one",
            "article:published_time": post["created_at"],
            "author": "Ada Lovelace",
        }
        assert {name: says.get(name) for name in expected} == expected
        assert "robots" not in says
        shown = main(html)
        assert "<p>Some <strong>bold</strong> words.</p>" in shown
        assert f'href="/users/{ada}" dir="auto">Ada Lovelace</a>' in shown
        assert f"Reader {str(eve)[:6]}" in shown
        assert "<em>Indeed</em>" in shown
        assert 'rel="nofollow ugc noopener noreferrer">https://example.org</a>' in shown
        assert shown.count("<h1") == 1

    async def test_lists_lead_to_posts_authors_and_the_next_page(self, people: People) -> None:
        """The next page is a link, and each page has an address of its own."""
        ada = await people.user()
        for number in range(ITEMS + 1):
            await people.post(ada, f"Number {number:02}", "# Words\n\nof a *post*")
        for path in ("/", f"/users/{ada}"):
            html = await page(people, path)
            titles = re.findall(r'<a href="/posts/[0-9a-f-]{36}">(.*?)</a>', html)
            assert titles == [f"Number {number:02}" for number in range(ITEMS, 0, -1)]
            assert '<p class="excerpt" dir="auto">Words of a post</p>' in html
            [rest] = re.findall(rf'rel="next" href="{path}(\?cursor=[\w-]+)">More posts</a>', html)
            html = await page(people, f"{path}{rest}")
            assert "Number 00" in html
            assert "Number 01" not in html
            assert 'rel="next"' not in html
            assert meta(html)["canonical"] == f"{ADDRESS}{path}{rest}"
        assert f'href="/users/{ada}/feed.atom"' in html

    async def test_what_the_api_hides_is_not_on_a_page(self, people: People) -> None:
        """An unknown address says so as a page that search engines do not keep."""
        ada, eve = await people.user(), await people.user()
        await people.done(ada, "PATCH", "/v1/me", {"display_name": "Ada Lovelace"})
        gone, deleted = await people.post(ada), await people.post(eve)
        await people.comment(ada, await people.post(eve, "Still here"), "Of Ada")
        await people.done(eve, "DELETE", f"/v1/posts/{deleted['id']}")
        await people.apply(a_tombstone(ada))

        for path in (
            *(f"/posts/{post}" for post in (gone["id"], deleted["id"], uuid4())),
            *(f"/users/{user}{feed}" for user in (ada, uuid4()) for feed in ("", "/feed.atom")),
            f"/posts/{str(deleted['id']).upper()}",
            f"/posts/{uuid4().hex}",
            "/?cursor=nonsense",
        ):
            html = await page(people, path, status=404)
            assert "Page not found" in main(html), path
            assert meta(html)["robots"] == "noindex"
        for path in ("/", "/feed.atom"):
            html = (await people.client.get(path)).text
            assert "Still here" in html
            assert "Ada Lovelace" not in html
        assert (await people.client.get("/posts/1")).status_code == 404

    @pytest.mark.parametrize("deleted", [False, True])
    async def test_content_of_a_deleted_user_may_stay_without_their_name(
        self, blog_settings: ApiSettings, signing_key: rsa.RSAPrivateKey, deleted: bool
    ) -> None:
        settings = blog_settings.model_copy(update={"deleted_authors": "keep"})
        async with people_of(settings, signing_key) as people:
            ada = await people.user()
            post = await people.post(ada, "Kept")
            if deleted:
                await people.apply(a_tombstone(ada))
            for path in ("/", f"/posts/{post['id']}", "/feed.atom"):
                text = (await people.client.get(path)).text
                assert "Kept" in text
                assert ("deleted user" in text) is deleted
                assert (str(ada) in text) is not deleted

    async def test_hostile_texts_are_shown_as_text(self, people: People) -> None:
        eve = await people.user()
        profile = {"display_name": HOSTILE[:50], "bio": HOSTILE}
        await people.done(eve, "PATCH", "/v1/me", profile)
        post = await people.post(eve, HOSTILE, HOSTILE)
        await people.comment(eve, post, HOSTILE)
        for path in ("/", f"/posts/{post['id']}", f"/users/{eve}"):
            html = await page(people, path)
            assert re.findall(r"<script[^>]*>", html) == [
                '<script type="module" src="/web/app.js">'
            ], path
            assert "<img" not in html
            assert re.search(r"\son\w+=\"", html) is None
            assert "&lt;script&gt;alert(1)" in html

    async def test_views_for_scripts_say_that_they_need_them(self, people: People) -> None:
        post = await people.post(await people.user())
        for path in ("/write", f"/posts/{post['id']}/edit", "/account", "/sign-in", "/sign-up"):
            html = await page(people, path)
            assert "needs JavaScript" in main(html), path
            assert meta(html)["robots"] == "noindex"

    async def test_an_unchanged_page_is_not_sent_again(self, people: People) -> None:
        ada = await people.user()
        await people.post(ada)
        first = await people.client.get("/")
        held = {"If-None-Match": first.headers["ETag"]}
        again = await people.client.get("/", headers=held)
        assert (again.status_code, again.content) == (304, b"")
        assert again.headers["Content-Security-Policy"] == first.headers["Content-Security-Policy"]
        await people.post(ada)
        assert (await people.client.get("/", headers=held)).status_code == 200

    async def test_without_a_database_the_page_still_loads_its_scripts(
        self, public_pem: str
    ) -> None:
        """They offer to try again; without scripts the page says so itself."""
        settings = ApiSettings(
            database_url="postgresql://nobody@127.0.0.1:1/none",
            public_key=public_pem,
            issuer=SOURCE,
        )
        async with blog_api(settings) as client:
            answer = await client.get("/")
        assert answer.status_code == 503
        assert answer.headers["Retry-After"]
        assert "Try again later" in answer.text
        assert 'src="/web/app.js"' in answer.text


class TestFeed:
    """The feeds (RFC 4287)."""

    async def test_a_feed_has_the_latest_posts_with_lasting_ids(self, people: People) -> None:
        ada = await people.user()
        await people.done(ada, "PATCH", "/v1/me", {"display_name": "Ada & Co"})
        posts = [await people.post(ada, f"No. {n} <b>", f"Words *{n}*") for n in range(ITEMS + 2)]
        for path, at, title in (
            ("/feed.atom", "/", "Daybook"),
            (f"/users/{ada}/feed.atom", f"/users/{ada}", "Ada & Co · Daybook"),
        ):
            answer = await people.client.get(path)
            assert answer.headers["Content-Type"] == "application/atom+xml; charset=utf-8"
            read = feedparser.parse(answer.content)
            assert not read.bozo, read.bozo_exception
            assert read.feed.title == title
            assert UUID(read.feed.id.removeprefix("urn:uuid:")).version == 5
            links = {link["rel"]: link["href"] for link in read.feed.links}
            assert links == {"self": f"{ADDRESS}{path}", "alternate": f"{ADDRESS}{at}"}
            assert read.feed.updated == posts[-1]["updated_at"]
            assert len(read.entries) == ITEMS
            entry, post = read.entries[0], posts[-1]
            assert entry.id == f"urn:uuid:{post['id']}"
            assert entry.link == f"{ADDRESS}/posts/{post['id']}"
            assert (entry.published, entry.updated) == (post["created_at"], post["updated_at"])
            assert entry.author_detail == {"name": "Ada & Co", "href": f"{ADDRESS}/users/{ada}"}
            root = ET.fromstring(answer.content)
            of_entry = "{http://www.w3.org/2005/Atom}entry/{http://www.w3.org/2005/Atom}"
            assert root.findtext(f"{of_entry}title") == post["title"]
            assert root.findtext(f"{of_entry}content") == post["body_html"]

    async def test_a_reader_gets_a_feed_again_only_when_it_has_changed(
        self, people: People
    ) -> None:
        """Also after a deletion, which no time in the feed shows."""
        ada = await people.user()
        older, _ = await people.post(ada), await people.post(ada)
        first = await people.client.get("/feed.atom")
        assert first.headers["Last-Modified"].endswith("GMT")
        held = {
            "If-None-Match": first.headers["ETag"],
            "If-Modified-Since": first.headers["Last-Modified"],
        }
        assert (await people.client.get("/feed.atom", headers=held)).status_code == 304
        await people.done(ada, "DELETE", f"/v1/posts/{older['id']}")
        assert (await people.client.get("/feed.atom", headers=held)).status_code == 200

    async def test_an_empty_feed_is_valid_and_links_are_relative_without_an_address(
        self, blog_settings: ApiSettings
    ) -> None:
        """The name in a request is the client's choice, so no link has it."""
        async with blog_api(blog_settings) as blog:
            answer = await blog.get("/feed.atom", headers={"Host": "evil.example"})
            html = (await blog.get("/", headers={"Host": "evil.example"})).text
        read = feedparser.parse(answer.content)
        assert not read.bozo
        assert read.entries == []
        assert read.feed.updated == iso(BEFORE_ANY)
        assert 'href="/feed.atom"' in answer.text
        assert "evil.example" not in answer.text + html
        assert "canonical" not in html

    def test_what_xml_may_not_have_is_replaced(self) -> None:
        """Two characters that are no control characters, and that a title may have."""
        author: dict[str, Any] = {"id": None, "display_name": "deleted user"}
        post = {
            "id": UUID(int=1),
            "title": "a\ufffeb\uffffc",
            "excerpt": "\x0c",
            "author": author,
            "created_at": BEFORE_ANY,
            "updated_at": BEFORE_ANY,
        }
        written = atom(Feed("Daybook", "urn:uuid:1", "", "/"), [post], ["<p>\ufffe</p>"])
        titles = [each.text for each in ET.fromstring(written).iter() if each.tag.endswith("title")]
        assert titles == ["Daybook", "a\ufffdb\ufffdc"]


def test_initials_are_those_of_the_scripts() -> None:
    for name, user_id, initials in (
        ("Ada Lovelace", UUID(int=1), "AL"),
        ("ada", UUID(int=1), "A"),
        ("Ada of  Lovelace", UUID(int=1), "AL"),
        (None, UUID("abcdef00-0000-0000-0000-000000000000"), "AB"),
        ("deleted user", None, "\N{EN DASH}"),
    ):
        assert initials_of({"display_name": name, "id": user_id}) == initials
