"""What both services agree on: events, their envelope, names on the broker, tokens, problems.

The only package that both services import; it imports neither of them.

The contract: ``events``, ``envelope``, ``names``, ``schemas``; ``tokens``, ``keys``, ``bearer``;
``problems``. The plumbing that both would otherwise write twice: ``settings``, ``errors``,
``terminal``, ``serving``, ``health``, ``http_errors``, ``telemetry``, ``backoff``.

 ``envelope`` alone knows aio-pika; a third service that only verifies tokens needs
``tokens`` and ``keys`` and none of the rest.
"""
