"""Texts that were rendered are remembered, within a limit."""

import asyncio
from threading import Event

import pytest

from blog_service.markdown import html_of
from blog_service.rendering import POST_HEADINGS, PREVIEWS_BEHIND_MAX, Renderer
from service_kit.http import problems
from service_kit.http.problems import Problem


@pytest.fixture
def rendered(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the texts that are rendered, in order."""
    texts: list[str] = []

    def noted(text: str, *, headings_from: int) -> str:
        texts.append(text)
        return html_of(text, headings_from=headings_from)

    monkeypatch.setattr("blog_service.rendering.html_of", noted)
    return texts


async def test_a_text_is_rendered_once_for_each_place(rendered: list[str]) -> None:
    """A post's headings are larger than a comment's."""
    renderer = Renderer()

    assert await renderer.post("# a") == "<h2>a</h2>\n"
    assert await renderer.comments(["b", "# a", "b"]) == [
        "<p>b</p>\n",
        "<h3>a</h3>\n",
        "<p>b</p>\n",
    ]
    assert await renderer.posts(["# a", "c"]) == ["<h2>a</h2>\n", "<p>c</p>\n"]
    assert await renderer.comments(["# a", "b"]) == ["<h3>a</h3>\n", "<p>b</p>\n"]

    assert rendered == ["# a", "b", "# a", "c"]


async def test_what_was_not_used_for_longest_is_forgotten_first(rendered: list[str]) -> None:
    renderer = Renderer(characters_max=30)
    for text in ("aaa", "bbb", "aaa", "ccc", "aaa", "bbb"):
        assert await renderer.post(text) == f"<p>{text}</p>\n"
    assert rendered == ["aaa", "bbb", "ccc", "bbb"]
    long = "x" * 100
    assert await renderer.post(long) == f"<p>{long}</p>\n"


async def test_previews_do_not_join_a_long_queue() -> None:
    """Posts do: they are there already, and their authors must learn that they were stored."""
    renderer, go_on = Renderer(), Event()
    renderer._worker.submit(go_on.wait)
    try:
        texts = [str(n) * (PREVIEWS_BEHIND_MAX // 4) for n in range(5)]
        previews = [asyncio.create_task(renderer.preview(text, POST_HEADINGS)) for text in texts]
        post = asyncio.create_task(renderer.post("a"))
        done, waiting = await asyncio.wait([*previews, post], return_when=asyncio.FIRST_COMPLETED)
        [refused] = done
        assert refused is previews[4]
        assert len(waiting) == 5
    finally:
        go_on.set()
    await asyncio.wait(waiting)
    error = refused.exception()
    assert isinstance(error, Problem)
    assert error.code == problems.BUSY
    assert error.headers == {"Retry-After": "5"}
    assert post.result() == "<p>a</p>\n"
    assert await renderer.preview("b", POST_HEADINGS) == "<p>b</p>\n"
