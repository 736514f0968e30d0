"""The blog's replica of the users: its table, and what the blog does when users are deleted.

Every tombstone is written with a note that the user's content must be erased (``sweep``);
``erasure`` does so.
"""

from typing import Final

from blog_service.erasure import metrics
from blog_service.erasure.content import erase_all_of
from blog_service.erasure.sweep import sweep_continuously
from blog_service.settings import (
    ConsumerSettings,
    DatabaseSettings,
    ReconcileSettings,
    StatusSettings,
)
from blog_service.users.table import users
from replica.service import Service
from replica.table import Gauges, Replica

USERS: Final = Replica(
    users,
    service="blog",
    command=DatabaseSettings.application_name,
    also={"sweep": "CASE WHEN coming.deleted_at IS NOT NULL THEN 'deleted' END"},
    also_buried={"sweep": "'orphan'"},
    erase=erase_all_of,
    latest_times=["(SELECT created_at FROM posts ORDER BY position DESC LIMIT 1)"],
    gauges=Gauges((metrics.due,), metrics.refresh),
)

SERVICE: Final = Service(
    replica=USERS,
    database=DatabaseSettings,
    status=StatusSettings,
    reconcile=ReconcileSettings,
    consumer=ConsumerSettings,
    tasks=(sweep_continuously,),
)
