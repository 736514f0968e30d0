"""The dependencies of a request: built once by ``app``, injected into routes as ``Blog``."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

import replica.context
from blog_service.settings import ApiSettings
from service_kit.database.reader import Reader


@dataclass(frozen=True, slots=True, kw_only=True)
class Context(replica.context.Context):
    """What a request to a service with a replica works with, and the blog's reader of pages."""

    settings: ApiSettings
    reader: Reader


async def _context(request: Request) -> Context:
    context: Context = request.app.state.context
    return context


Blog = Annotated[Context, Depends(_context)]
