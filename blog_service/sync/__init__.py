"""What operators see and do over HTTP: the pipe's far end at a glance, comparisons, and replays.

``status`` is also what ``blog-service status`` shows. Comparisons are made by a consumer
(``reconcile``), replays by the source (``replays`` asks it); ``metrics`` is for both processes.
"""
