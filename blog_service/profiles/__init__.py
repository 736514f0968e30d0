"""What users tell of themselves, and how readers see who wrote something."""
