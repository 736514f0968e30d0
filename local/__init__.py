"""The whole system on one machine: servers and processes, for make, tests and benchmarks.

Read in this order: `paths` and `ports` (folders, names, free ports), `environment` (given
addresses), `postgres` and `rabbitmq` (the two servers: given, found, or started here), `account`
(the blog's service account), `processes` (our own four), `system` (all of it together), `__main__`
(the commands behind `make`). `vocabulary` checks the English of the whole repository.

Guarantees: two checkouts on one machine do not disturb each other; only what was started here is
stopped; all commands are idempotent; every failure is a `LocalError`, whose message says what to
do.

Not here: code that a service imports, and deployment (`docker-compose.yml`).
"""
