"""What operators see and do over HTTP: the pipe's far end at a glance, comparisons, and replays.

``status`` is also what ``blog-service status`` shows.
"""
