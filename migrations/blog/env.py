"""Alembic's entry for the blog database."""

import blog_service.comments.table
import blog_service.inbox.table
import blog_service.keys.table
import blog_service.posts.table
import blog_service.profiles.table
import blog_service.reconcile.table
import blog_service.samples.table
import blog_service.services.table
import blog_service.users.table  # noqa: F401 - the tables register themselves
from blog_service.db import metadata
from blog_service.settings import DatabaseSettings
from contracts.settings import load
from migrations.environment import run

run(metadata, lambda: load(DatabaseSettings))
