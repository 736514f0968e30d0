"""The tables of limits, by keyed hashes: no addresses, no e-mails. Written by ``throttle``."""

from sqlalchemy import Column, DateTime, Index, Integer, LargeBinary, Table

from auth_service.db import metadata

throttle_rates = Table(
    "throttle_rates",
    metadata,
    Column("key", LargeBinary, primary_key=True),
    Column(
        "empty_at",
        DateTime(timezone=True),
        nullable=False,
        comment="when all that was spent has come back (GCRA's theoretical arrival time)",
    ),
    comment="A rate's state for one key; worthless once empty_at has passed",
)

Index("throttle_rates_empty_at_idx", throttle_rates.c.empty_at)

throttle_failures = Table(
    "throttle_failures",
    metadata,
    Column("key", LargeBinary, primary_key=True),
    Column("count", Integer, nullable=False),
    Column("blocked_until", DateTime(timezone=True)),
    Column("forgotten_at", DateTime(timezone=True), nullable=False),
    comment="Failures in a row of one account from one network",
)

Index("throttle_failures_forgotten_at_idx", throttle_failures.c.forgotten_at)

throttle_known_networks = Table(
    "throttle_known_networks",
    metadata,
    Column("key", LargeBinary, primary_key=True),
    Column("forgotten_at", DateTime(timezone=True), nullable=False),
    comment="A network from which an account signed in; keys are those of throttle_failures",
)

Index("throttle_known_networks_forgotten_at_idx", throttle_known_networks.c.forgotten_at)
