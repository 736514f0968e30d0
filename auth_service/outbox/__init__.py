"""Steps 2 and 3 of 6: the transactional outbox.

``record`` inserts an event in the transaction that changes its user. ``relay`` publishes it later,
in a process of its own: ``backlog`` reads unpublished rows and marks them, ``publisher`` sends them
to the broker. ``prune`` deletes events past their retention, ``advance_sequences`` moves positions
and heartbeat numbers after a restore.
"""
