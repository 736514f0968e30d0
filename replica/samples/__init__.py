"""How the pipe did in the last day: a sample every few seconds, taken by each consumer.

``take`` is the loop inside the consumer process, ``read`` makes a series of the samples and tells
which consumers are heard of now. The table is all that they share: the API speaks to no consumer
and to no broker, and knows of both.
"""
