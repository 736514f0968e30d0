"""Who did what to whom, and when: kept for ever, changed by nobody."""
