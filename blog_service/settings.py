"""Settings of the blog service: those of every service with a replica, and the blog's own."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from replica import settings as of_a_replica
from service_kit.database import settings as database
from service_kit.process.rates import Rate
from service_kit.process.setting_types import Audience, PublicUrl, RateSetting


class DatabaseSettings(of_a_replica.DatabaseSettings):
    """The blog's database: what every process needs."""

    model_config = SettingsConfigDict(env_prefix="BLOG_")
    application_name: ClassVar[str] = "blog-service"


class MigrationSettings(database.MigrationSettings, DatabaseSettings):
    """The migrations of the blog's database."""

    database_roles: Annotated[str, Field(min_length=1, max_length=40)] = "blog"


DeletedAuthors = Literal["remove", "keep"]
"""What becomes of what a user wrote when they are deleted."""


class ContentSettings(DatabaseSettings):
    """What both the process that shows content and the one that erases it need."""

    # "remove": it goes with the user; "keep": it stays, under "deleted user". The profile always
    # goes.
    deleted_authors: DeletedAuthors = "remove"


class StatusSettings(of_a_replica.StatusSettings, DatabaseSettings):
    """``blog-service status``."""


class ReconcileSettings(of_a_replica.ReconcileSettings, DatabaseSettings):
    """``blog-service reconcile``."""


class ConsumerSettings(of_a_replica.ConsumerSettings, ContentSettings):
    """``blog-service consumer``."""


class ApiSettings(of_a_replica.ApiSettings, ContentSettings):
    """``blog-service api``."""

    audience: Audience = "blog"
    # Where readers find the blog: absolute links in feeds, and what search engines keep. Without
    # it links are relative, since any client can choose the name in its request.
    public_url: PublicUrl | None = None
    # Posts of one user: faster than anybody types, and slow enough to be seen and stopped; ...
    limit_posts: RateSetting = Rate(600, 3600)
    # ... and comments. Services are not counted: they take over what is there elsewhere.
    limit_comments: RateSetting = Rate(3600, 3600)
    # Exports of one user's data, at each API process: several tries, when a download fails. Each
    # holds a connection and most of a core for up to a second.
    limit_exports: RateSetting = Rate(5, 3600)
    # Previews of one user, at each API process: two a second while they type. The longest text
    # occupies the rendering thread for a fifth of a second.
    limit_previews: RateSetting = Rate(120, 60)
    # The longest body this API takes: that of the longest post, in any script, even as escapes. A
    # slow phone sends 128 KiB in six seconds.
    body_bytes_max: Annotated[int, Field(ge=1024)] = 128 * 1024
