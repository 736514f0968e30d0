"""The dependencies of a request: built once by ``app``, injected into routes as ``Blog``."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

import replica.context
from blog_service.per_process_limit import PerProcessLimit
from blog_service.rendering import Renderer
from blog_service.settings import ApiSettings
from service_kit.database.reader import Reader
from service_kit.http.downloads import Downloads


@dataclass(frozen=True, slots=True, kw_only=True)
class Context(replica.context.Context):
    """What a request to a service with a replica works with, with the blog's own."""

    settings: ApiSettings
    reader: Reader
    """Reads pages."""
    searcher: Reader
    """Searches, which take longer."""
    downloads: Downloads
    renderer: Renderer
    export_limit: PerProcessLimit
    preview_limit: PerProcessLimit


async def _context(request: Request) -> Context:
    context: Context = request.app.state.context
    return context


Blog = Annotated[Context, Depends(_context)]
