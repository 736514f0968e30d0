"""The live tail of the source: events as they are recorded and published, without their content."""
