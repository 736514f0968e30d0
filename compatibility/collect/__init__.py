"""Read from the code what it promises: documents, commands, settings, metrics and log events."""
