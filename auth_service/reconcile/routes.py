"""The endpoints with which replicas compare themselves; formats: ``contracts.sync.comparison``."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Query, Request, Response, status
from starlette.requests import ClientDisconnect

from auth_service.context import Auth
from auth_service.outbox.heartbeat import record_heartbeat
from auth_service.reconcile.certify import certify
from auth_service.reconcile.digests import (
    maintained_digests,
    recomputed_digests,
    some_maintained_digests,
)
from auth_service.reconcile.stream import UsersStream, while_connected
from auth_service.services.bearer import SERVICES_ONLY, service_caller
from auth_service.throttle.model import Charge
from auth_service.tokens.export import export_keys
from contracts.sync.certificate import CertificateRequest, CertificationBody
from contracts.sync.certificate_keys import CertificateKeys
from contracts.sync.comparison import (
    EVERY_BUCKET,
    LINES,
    RANGES_LENGTH_MAX,
    RANGES_PATTERN,
    SCOPE,
    DigestsBody,
    HeartbeatBody,
    buckets_in,
    entity_tag,
    is_named,
)
from contracts.sync.digest import DigestKind
from service_kit.http import problems
from service_kit.http.openapi import documented
from service_kit.http.problems import Problem

router = APIRouter(prefix="/v1/reconcile", tags=["reconcile"])

RESPONSES: Final = documented(*SERVICES_ONLY)

STREAM: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "description": "Lines of JSON: one about the source, one per user, one with their count and"
        " SHA-256. Without the last line the response is incomplete.",
        "content": {LINES: {"schema": {"type": "string"}}},
    }
}


UNCHANGED: Final[dict[int | str, dict[str, Any]]] = {
    304: {"description": "All digests are as `If-None-Match` says: that is the proof."}
}


async def _replica(request: Request, auth: Auth) -> str:
    return await service_caller(request, auth, SCOPE)


Replica = Annotated[str, Depends(_replica)]
"""The calling service, which keeps a replica."""

_IN_RANGES: Final = Query(
    pattern=RANGES_PATTERN,
    max_length=RANGES_LENGTH_MAX,
    description="ranges of buckets, ascending",
    examples=["0-15,17"],
)
Buckets = Annotated[str, _IN_RANGES]
SomeBuckets = Annotated[str | None, _IN_RANGES]

Of = Annotated[
    DigestKind, Query(description="whole states, or for a replica with fewer columns `versions`")
]

Groups = Annotated[
    bool,
    Query(description="of 64 groups of neighbouring buckets, in place of single buckets"),
]

Recompute = Annotated[
    bool,
    Query(description="from all users, which takes seconds, and correct the maintained digests"),
]


@router.get(
    "/digests",
    summary="The digests of all users",
    response_model=DigestsBody,
    responses={**RESPONSES, **UNCHANGED},
)
async def get_digests(
    _: Replica,
    auth: Auth,
    request: Request,
    of: Of = DigestKind.STATE,
    buckets: SomeBuckets = None,
    groups: Groups = False,
    recompute: Recompute = False,
) -> Response:
    """Digest each bucket of one snapshot: tables with equal digests have equal users.

    A response about all buckets has an `ETag`; a request that names it in `If-None-Match` gets 304
    without a body. To find the buckets that differ, ask for groups and then for their buckets.
    """
    ranges = EVERY_BUCKET if buckets is None else _ranges(buckets)
    if buckets is not None and not (groups or recompute):
        some = await some_maintained_digests(auth.reads, of, ranges)
        return _json(DigestsBody.of(some.source, some.taken_at, some.digests, of))
    if recompute:
        try:
            found = await while_connected(request.receive, recomputed_digests(auth.snapshots))
        except ClientDisconnect:
            return Response()  # the client has left
    else:
        found = await maintained_digests(auth.reads, of)
    headers = {}
    if buckets is None or groups:
        headers["ETag"] = tag = entity_tag(found.source, of, found.digests)
        is_known = is_named(tag, request.headers.getlist("if-none-match"))
        if is_known and not found.corrected:
            return Response(status_code=status.HTTP_304_NOT_MODIFIED, headers=headers)
    packed = found.digests.groups(of) if groups else found.digests.packed(of, ranges)
    body = DigestsBody.of(found.source, found.taken_at, packed, of, corrected=found.corrected)
    return _json(body, headers)


def _json(body: DigestsBody, headers: Mapping[str, str] = MappingProxyType({})) -> Response:
    return Response(body.model_dump_json(), headers=headers, media_type="application/json")


@router.get(
    "/users",
    summary="The users of some buckets",
    status_code=status.HTTP_200_OK,
    response_class=UsersStream,
    responses={**RESPONSES, **STREAM},
)
async def get_users(_: Replica, auth: Auth, buckets: Buckets) -> UsersStream:
    """Stream users and tombstones of one snapshot, marked `unpublished` while an event waits."""
    return UsersStream(auth.snapshots, _ranges(buckets))


def _ranges(buckets: str) -> Sequence[range]:
    try:
        return buckets_in(buckets)
    except ValueError as error:
        wrong = {"pointer": "/query/buckets", "detail": str(error)}
        raise Problem(problems.INVALID_REQUEST, errors=[wrong]) from None


@router.post(
    "/heartbeats",
    status_code=status.HTTP_201_CREATED,
    summary="Record a heartbeat now",
    responses=documented(*SERVICES_ONLY, problems.TOO_MANY_REQUESTS),
)
async def post_heartbeat(replica: Replica, auth: Auth, response: Response) -> HeartbeatBody:
    """Record a heartbeat; once it arrives, everything published before it has arrived."""
    charge = Charge("heartbeats", replica, auth.settings.limit_heartbeats)
    response.headers.update(await auth.throttle.spend(charge))
    async with auth.engine.begin() as connection:
        recorded = await record_heartbeat(connection)
    return HeartbeatBody(
        source=recorded.source,
        issuer=auth.settings.issuer,
        number=recorded.number,
        recorded_at=recorded.at,
    )


@router.post(
    "/certificates",
    summary="Certify that the digests are equal",
    responses=documented(*SERVICES_ONLY, problems.UNAVAILABLE),
)
async def post_certificate(
    replica: Replica, auth: Auth, body: CertificateRequest
) -> CertificationBody:
    """Sign a statement if the replica's digests equal those of this moment.

    It follows `previous`. After one that this source did not sign for this replica, or with a key
    that is revoked now, the numbers begin again at 1.
    """
    return await certify(auth.engine, auth.keys, replica, body)


@router.get("/keys", summary="The keys of certificates", responses=documented(*SERVICES_ONLY))
async def get_keys(_: Replica, auth: Auth) -> CertificateKeys:
    """Every public key that this source has had, with its state: certificates outlive the JWKS."""
    return await export_keys(auth.engine, auth.settings)
