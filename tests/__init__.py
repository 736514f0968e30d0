"""Tests by level: unit, contract, integration, end_to_end, chaos. ``support`` is shared."""
