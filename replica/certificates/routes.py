"""The certificates over HTTP, for operators."""

from fastapi import APIRouter

from replica.caller import OPERATORS_ONLY, Operator
from replica.certificates import store
from replica.certificates.bodies import CertificateBody
from replica.context import RequestContext
from service_kit.http.openapi import documented
from service_kit.http.pagination import PAGE_ITEMS_DEFAULT, Limit, NumberCursor, Page, page_of

router = APIRouter(prefix="/v1/sync/proofs", tags=["operation"])


@router.get("", summary="List certificates", responses=documented(*OPERATORS_ONLY))
async def get_list(
    _: Operator,
    context: RequestContext,
    cursor: NumberCursor | None = None,
    limit: Limit = PAGE_ITEMS_DEFAULT,
) -> Page[CertificateBody]:
    """Return a page of the source's certificates that the replica equals it, newest first.

    Their signatures are not checked here: `blog-service proofs verify` does that.
    """
    async with context.engine.connect() as connection:
        found = await store.page(connection, limit=limit + 1, before=cursor)
    return page_of([CertificateBody.of(row) for row in found], limit, key=lambda item: item.id)
