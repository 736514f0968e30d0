"""Alembic's entry point for the auth database."""

import auth_service.audit.table
import auth_service.mail.table
import auth_service.outbox.table
import auth_service.reconcile.table
import auth_service.replays.table
import auth_service.services.table
import auth_service.sessions.table
import auth_service.throttle.table
import auth_service.tokens.table
import auth_service.users.table  # noqa: F401 - the tables register themselves
from auth_service.db import metadata
from auth_service.rights import RIGHTS
from auth_service.settings import MigrationSettings
from migrations.environment import run
from service_kit.process.load import load

run([metadata], RIGHTS, lambda: load(MigrationSettings))
