"""What the services promise each other: examples, schemas, tokens."""
