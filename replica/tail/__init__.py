"""The live tail of a replica: what became of each message as it was settled, without its content.

While nobody watches, a consumer keeps nothing. A tail, or the command, says in ``tail_watch`` that
it watches; from then on each consumer notes in memory what it settles (``notes``) and writes that
to ``tail_lines`` every half a second (``write``), from where tails read it (``read``).
"""
