"""Connect to RabbitMQ and pass messages in bulk; knows no HTTP and no database.

``connection`` opens and closes, and describes errors. ``seam`` is the one place where content
leaves the client library's path (docs/decisions/0050); ``bulk_publish`` and ``bulk_receive`` use
it, over the pure ``frames``, ``confirms`` and ``delivery``. ``queue_depths`` reads how much waits,
and ``metrics`` shows it. ``tracing`` names what is done with messages.
"""
