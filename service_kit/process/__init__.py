"""Settings, logs, traces, terminal, tasks: for any process; no HTTP, database or broker."""
