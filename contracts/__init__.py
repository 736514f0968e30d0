"""What both services agree on: events, their envelope, names on the broker, tokens, problems.

The only package that both services import; it imports neither of them.

The contract: ``events``, ``envelope``, ``names``, ``queues``, ``schemas``; ``tokens``, ``bearer``,
``key_set``, ``keys``, ``encodings``; ``problems``; ``merge`` and ``replica``, which keep a table in
step, ``digest`` and ``reconcile``, which prove that it is. The plumbing that both would otherwise
write twice: ``jwks_cache``; ``settings``, ``errors``, ``terminal``, ``progress``, ``actors``,
``telemetry``, ``backoff``, ``health``, ``tasks``; ``serving`` and ``http_protocol`` below HTTP
applications; in them ``http_manners``, with ``http_errors``, ``http_metrics``, ``body_limits``,
``json_bodies``, ``openapi``, ``rate_limits``, ``paging`` and ``pages``.

``envelope`` alone knows aio-pika. A third service that only verifies tokens needs ``tokens`` with
``key_set``, ``keys`` and ``encodings``, ``jwks_cache`` to have the keys from an address, and none
of the rest; one that keeps a replica needs ``replica`` and what reads its messages.
``docs/add-a-service.md`` leads through both.
"""
