"""The whole system on one machine: servers and processes; for make, tests and benchmarks.

Read in this order: `places` and `ports` (where things are), `postgres` and `rabbitmq` (the two
servers: an address from the environment, one that is found, or one that is started here), `account`
(the blog's at the auth service), `processes` (our own four), `system` (all of it together),
`__main__` (the commands behind `make`).

Guarantees: two checkouts on one machine do not disturb each other; only what was started here is
ever ended; repeating a command is quick and harmless; every failure is a `LocalError`, whose
message is the sentence to show.

Not here: anything that a service imports, and deployment (`docker-compose.yml`).
"""
