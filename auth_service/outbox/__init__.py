"""Steps 2 and 3 of 6: the transactional outbox.

``record`` writes an event where the change itself is written; ``relay`` publishes it later, from a
process of its own: ``leadership`` makes one relay active, ``backlog`` claims rows and marks them,
``publisher`` speaks with the broker. ``prune`` ends what is old, ``jump`` moves the log's numbers
after a restore.
"""
