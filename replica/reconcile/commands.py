"""The command ``reconcile``."""

import dataclasses
import sys
from typing import TYPE_CHECKING, Annotated
from uuid import UUID

import typer

from replica.reconcile.model import (
    DELETIONS_MAX,
    USERS_MAX,
    Kind,
    Reason,
    Verdict,
    repairable,
)
from service_kit.database.commands import on_database
from service_kit.process.actors import operator
from service_kit.process.errors import OperatorError
from service_kit.process.id_lists import argument, ids_of, user_id
from service_kit.process.load import load
from service_kit.process.terminal import AsJson, failing_with, show

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

    from replica.service import Service

EXIT_CODE = {Verdict.IN_STEP: 0, Verdict.DRIFT: 1, Verdict.COULD_NOT_COMPARE: 2}


@failing_with(EXIT_CODE[Verdict.COULD_NOT_COMPARE])
def reconcile(
    context: typer.Context,
    repair: Annotated[
        bool, typer.Option("--repair", help="Repair missing, stale, undeleted and corrupt users.")
    ] = False,
    ahead: Annotated[
        bool, typer.Option("--ahead", help="Also set back users who are ahead of the source.")
    ] = False,
    orphans: Annotated[
        bool, typer.Option("--orphans", help="Also delete users that are unknown to the source.")
    ] = False,
    deletions_max: Annotated[
        int,
        typer.Option(
            "--max-deletions", min=0, help="Orphans that may be deleted: all of them, or none."
        ),
    ] = DELETIONS_MAX,
    accept_source: Annotated[
        UUID | None,
        typer.Option(help="Follow this source from now on, in place of the one before."),
    ] = None,
    ids: Annotated[
        Kind | None,
        typer.Option("--ids", metavar="KIND", help="Print only the ids of all users of this kind."),
    ] = None,
    user: Annotated[
        list[str] | None,
        typer.Option(
            parser=argument(user_id),
            metavar="ID|-",
            help="Only this user; repeat for more; - reads standard input.",
        ),
    ] = None,
    as_json: AsJson = False,
    names_all: Annotated[
        bool, typer.Option("--all", help="With --json: name all users, not 1,000 of a kind.")
    ] = False,
) -> None:
    """Compare the whole replica with its source, and repair what differs.

    Without options it only looks. Exit code 0: in step (after the repairs); 1: drift; 2: could not
    compare.

    With --user, only these users are compared and repaired, at most a hundred. This says nothing
    about all others, so it is no proof.

    --ids prints one id a line, for commands that read them with -; the report goes to standard
    error. The kinds are missing, stale, undeleted, corrupt, ahead, orphan, undone_deletion and
    provisional_orphan.
    """
    from replica.reconcile import naming, runs
    from replica.reconcile.report import report
    from replica.reconcile.run import run

    if ids and as_json:
        raise typer.BadParameter("give either --ids or --json")
    if names_all and not as_json:
        raise typer.BadParameter("--all needs --json; without it, use --ids KIND")
    service: Service = context.obj()
    settings = load(service.reconcile)
    with ids_of(user or [], user_id) as named:
        if len(named) > USERS_MAX:
            raise OperatorError(f"name at most {USERS_MAX} users, or compare all: omit --user")
        if user and not len(named):
            raise OperatorError("standard input names no user")
        users = list(named)
    all_as_json = naming.FindingsAsJson()
    of_kind = naming.ids_of(ids) if ids else None
    every = all_as_json.every if names_all else of_kind

    async def work(engine: "AsyncEngine") -> runs.Run:
        async with engine.begin() as connection:
            requested = await runs.request(
                connection,
                reason=Reason.OPERATOR,
                requested_by=operator(),
                repairs=repairable(repair=repair, ahead=ahead, orphans=orphans),
                deletions_max=deletions_max,
                users=users,
            )
            begun = await runs.start(connection, requested)
        return await run(
            service.replica,
            settings,
            engine,
            begun,
            accepts=accept_source,
            is_quiet=False,
            every=every,
        )

    ended = on_database(settings, work)
    figures = dataclasses.asdict(ended) | {"repairs": sorted(ended.repairs)}
    if names_all:
        all_as_json.end(figures)
    elif as_json:
        show(figures, as_json=True)
    else:
        print(report(ended), file=sys.stderr if ids else sys.stdout)
    assert ended.verdict is not None  # it has ended
    raise typer.Exit(EXIT_CODE[ended.verdict])
