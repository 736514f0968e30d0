"""The blog's API without verification: the caller is read from the replica, not from a token."""

from typing import Final
from uuid import UUID

from sqlalchemy import select

from blog_service.app import create_app
from blog_service.context import Blog
from blog_service.profiles import routes as profiles
from blog_service.settings import ApiSettings
from blog_service.users.table import users
from replica.caller import ReplicaUser, current_user, to_replica_user
from service_kit.http.serving import serve

PATH: Final = "/v1/me"

USER_ID: Final = UUID("00000000-0000-4000-8000-000000000001")
"""The caller of every request; the benchmark adds the row."""


_LOOK = select(users).where(users.c.id == USER_ID)


async def unverified_user(blog: Blog) -> ReplicaUser:
    """Read the row of ``USER_ID``, by a query that is built once, as a verified request's is."""
    async with blog.engine.connect() as connection:
        row = (await connection.execute(_LOOK)).one()
    return to_replica_user(row)


if __name__ == "__main__":
    settings = ApiSettings()
    app = create_app(settings)
    app.dependency_overrides[current_user] = unverified_user
    routes = app.router.routes
    place = next(n for n, route in enumerate(routes) if getattr(route, "path", "") == PATH)
    app.get(PATH)(profiles.get_me)  # built with the overrides
    routes[place] = routes.pop()
    serve(app, host=settings.host, port=settings.port, setting="BLOG_PORT")
