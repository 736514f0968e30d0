"""The parameters of each service's command that exports a user into an archive."""

from pathlib import Path
from typing import Annotated, TypeAlias

import typer

from service_kit.process.id_lists import argument, user_id

ExportedUser: TypeAlias = Annotated[
    str, typer.Argument(parser=argument(user_id), metavar="ID", help="User to export.")
]

Into: TypeAlias = Annotated[
    Path, typer.Option(metavar="FILE", help="Archive; parts of other services may be in it.")
]
