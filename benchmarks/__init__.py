"""Measure the claims about speed: our code, common alternatives, and the limit.

``python -m benchmarks`` (``make bench``) runs every measurement, prints a table, and writes
``docs/benchmarks.md`` and ``.local/bench.json``. Read ``__main__`` first, then one file per
measurement: ``relay``, ``apply``, ``whole_way``, ``latency``, ``passwords``, ``tokens``,
``reconcile``, ``replay``, ``proof``, ``proof_under_traffic``, ``naming``, ``keeping_digests``.
The alternatives are in ``peers``; the limits are the bare client in
``client`` and the bare COPY in ``copying``.

Guarantees: what is compared ran in the same run, in turns. All databases and the virtual host are
the benchmarks' own, and are removed at the end.
"""
