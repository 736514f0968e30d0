"""Compare the replica with its source, and repair what differs.

``source`` asks the source, ``compare`` finds what differs, ``repair`` mends it through the
replica's one writer, ``run`` does both and keeps the verdict, ``watch`` has it done by itself.
"""
