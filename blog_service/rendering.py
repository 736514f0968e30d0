"""Render texts beside the requests, and remember the results.

A text is rendered when it is read: a result that was stored would be out of date with each new
version of the renderer, and with each text that an older release of this service changes. What is
read often is remembered, so that a page costs no more than before
(docs/decisions/0075-markdown-is-rendered-on-read.md).

Guarantees: rendering occupies one thread, however many requests wait for it, so that other requests
proceed. Previews are refused while much waits, since anybody can invent texts for them; what was
written is rendered. What is remembered has a limit (``CHARACTERS_MAX``) and is found by the text
alone: a text that was changed or erased is in no response.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from blog_service.markdown import html_of
from service_kit.http import problems
from service_kit.http.problems import Problem

CHARACTERS_MAX: Final = 8_000_000
"""Of texts and results that are remembered: 8 MB for most scripts, 32 MB at worst; enough for
a thousand posts and their comments."""

PREVIEWS_BEHIND_MAX: Final = 400_000
"""Characters before which a preview does not wait: twenty of the longest texts, which take less
than half a second, or five seconds at worst."""

BUSY_RETRY_SECONDS: Final = "5"

POST_HEADINGS: Final = 2
"""The level of the highest heading in a post; its title is the page's first heading."""

COMMENT_HEADINGS: Final = 3
"""The same in a comment, which stands below the heading "Comments"."""


class Renderer:
    """Renders Markdown in a thread of its own.

    Parameters:
        characters_max: how much is remembered, in characters of texts and results.
    """

    def __init__(self, characters_max: int = CHARACTERS_MAX) -> None:
        self._characters_max = characters_max
        self._characters = 0
        # The least recently used first.
        self._known: OrderedDict[tuple[str, int], str] = OrderedDict()
        self._worker = ThreadPoolExecutor(1, "markdown")
        self._waiting = 0  # characters

    async def post(self, text: str) -> str:
        """Return the HTML of a post."""
        return (await self.posts([text]))[0]

    async def posts(self, texts: Sequence[str]) -> list[str]:
        """Return the HTML of each of these posts."""
        return await self._rendered(texts, POST_HEADINGS)

    async def comments(self, texts: Sequence[str]) -> list[str]:
        """Return the HTML of each of these comments."""
        return await self._rendered(texts, COMMENT_HEADINGS)

    async def preview(self, text: str, headings_from: int) -> str:
        """Return the HTML that a text would have.

        Raises:
            Problem: too much waits (503).
        """
        if self._waiting >= PREVIEWS_BEHIND_MAX:
            raise Problem(problems.BUSY, headers={"Retry-After": BUSY_RETRY_SECONDS})
        return (await self._rendered([text], headings_from))[0]

    async def _rendered(self, texts: Sequence[str], headings_from: int) -> list[str]:
        known = {text: self._recall(text, headings_from) for text in texts}
        missing = [text for text, html in known.items() if html is None]

        def render() -> list[str]:
            return [html_of(text, headings_from=headings_from) for text in missing]

        if missing:
            length = sum(map(len, missing))
            self._waiting += length
            try:
                made = await asyncio.get_running_loop().run_in_executor(self._worker, render)
            finally:
                self._waiting -= length
            for text, html in zip(missing, made, strict=True):
                self._remember(text, headings_from, html)
                known[text] = html
        return [known[text] or "" for text in texts]

    def _recall(self, text: str, headings_from: int) -> str | None:
        html = self._known.get((text, headings_from))
        if html is not None:
            self._known.move_to_end((text, headings_from))
        return html

    def _remember(self, text: str, headings_from: int, html: str) -> None:
        if (text, headings_from) in self._known:  # another request has asked for it too
            return
        self._known[text, headings_from] = html
        self._characters += len(text) + len(html)
        while self._characters > self._characters_max:
            (old, _), result = self._known.popitem(last=False)
            self._characters -= len(old) + len(result)
