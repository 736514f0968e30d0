"""What this repository promises to others: documents of it, and a check that it stays true.

``python -m compatibility write`` writes the AsyncAPI and OpenAPI documents from the code.
``python -m compatibility check`` (in ``make check``) fails if a document is out of date or invalid,
or if the code breaks what the last release promised: events and their topology, HTTP, commands,
settings, metrics and log events. ``python -m compatibility release`` makes what the code promises
now the last release's promise. docs/contracts.md says what may change, and when.

``collect`` reads the promises from the code, ``contracts/released`` has those of the last release.
``schemas``, ``http``, ``events`` and ``operations`` compare the two, and ``verdict`` decides; these
are pure.

Not here: code that a service imports.
"""
