"""Backups: either database is lost and restored, and both agree afterwards."""

import json

from deploy.trial.containers import BLOG_PORT, Containers, require
from deploy.trial.people import ask, follow_an_event, is_known, require_agreement, sign_up

BLOG = ("blog-api", "blog-consumer")
AUTH = ("auth-api", "auth-relay")


def run(containers: Containers) -> None:
    """Start, back up, lose the blog's database and then the other, and restore them."""
    containers.start()
    before = follow_an_event(containers)
    containers.compose("--profile=backup", "up", "--detach", "--wait", "backup")
    containers.say(containers.compose("exec", "--no-TTY", "backup", "ls", "/backups").strip())

    after = follow_an_event(containers)
    containers.compose("stop", *BLOG)
    containers.sql("postgres", "DROP DATABASE blog WITH (FORCE)")
    _restore(containers, "blog")
    containers.bring_up()
    require(is_known(before), "who was in the backup is not there")
    containers.wait("who came after the backup is known again", lambda: is_known(after))
    require_agreement(containers)

    lost = follow_an_event(containers)
    containers.compose("stop", *AUTH)
    containers.sql("postgres", "DROP DATABASE auth WITH (FORCE)")
    _restore(containers, "auth")
    # As docs/failover.md says, from step 3 on.
    status = json.loads(containers.operator("blog-service", "status", "--json"))
    highest = str(status["highest_version"])
    containers.compose("run", "--rm", "--no-TTY", "auth-migrations")
    containers.say(
        containers.operator("auth-service", "restored", "--floor", highest).splitlines()[-1]
    )
    containers.bring_up()
    waiting = sign_up()
    containers.wait("who signs up now is known to the blog", lambda: is_known(waiting))
    drift = containers.try_compose(
        *("run", "--rm", "--no-TTY", "operator", "blog-service", "reconcile")
    )
    require("drift" in drift.stdout, f"nothing was lost: {drift.stdout}{drift.stderr}")
    containers.operator(
        *("blog-service", "reconcile", "--repair", "--ahead", "--orphans", "--max-deletions=10")
    )
    require_agreement(containers)
    gone = ask(BLOG_PORT, "GET", f"/v1/users/{lost.id}")
    require(gone.status == 404 or gone.body["status"] == "deleted", f"an orphan is left: {gone}")


def _restore(containers: Containers, database: str) -> None:
    containers.compose("run", "--rm", "--no-TTY", "backup", "bash", "/restore.sh", database)
    containers.say(f"the database {database} is restored")
