"""The claims about speed, measured: ours, what a user would otherwise build, and the limit.

``python -m benchmarks`` (``make bench``) runs every measurement, prints a table, and writes
``docs/benchmarks.md`` and ``.local/bench.json``. Read ``__main__`` first, then one file for each
measurement: ``relay``, ``apply``, ``whole_way``, ``latency``, ``passwords``, ``tokens``,
``reconcile``, ``replay``. What they are compared with is in ``peers`` and, for the bare client, in
``client``, for the bare COPY in ``copying``.

Guarantees: what is compared ran in the same run, in turns; every database and the virtual host are
the benchmarks' own and are removed at the end.
"""
