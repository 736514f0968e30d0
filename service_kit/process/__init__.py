"""Settings, logs, terminal, tasks: what any process needs, without HTTP, database or broker."""
