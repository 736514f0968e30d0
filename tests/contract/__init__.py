"""Contract tests: examples, schemas, tokens and documents that both services rely on."""
