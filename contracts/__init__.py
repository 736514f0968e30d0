"""What both services agree on: events, their envelope, names on the broker, tokens, problems.

The only package that both services import. It imports neither of them, opens no connection and
writes nothing. ``envelope`` alone knows aio-pika; a third service that only verifies tokens needs
``tokens`` and ``keys`` and none of the rest.
"""
