"""Alembic's entry point for the blog database."""

import blog_service.comments.table
import blog_service.posts.table
import blog_service.profiles.table
import blog_service.users.table  # noqa: F401 - the tables register themselves
from blog_service.db import metadata as of_the_blog
from blog_service.rights import RIGHTS
from blog_service.settings import MigrationSettings
from migrations.environment import run
from replica.schema import metadata as of_a_replica
from service_kit.process.load import load

run([of_the_blog, of_a_replica], RIGHTS, lambda: load(MigrationSettings))
