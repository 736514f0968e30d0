"""Compare the replica with its source, and repair what differs.

``compare`` is the whole in its order: ``source`` asks, ``staging`` keeps its answer (``session``),
``step`` and ``unknown`` tell apart what differs and mend it through the replica's one writer.
``run`` makes a run of it, which ``runs`` keeps; ``headway`` tells how far it has come, ``at_work``
whether its maker lives; ``watch`` has it done by itself.
"""
