"""Samples of the pipe's state over the last day, taken by each consumer every few seconds.

``sampler`` is the loop in the consumer process. ``read`` builds a series and tells which consumers
are alive. They share only the table, so the API knows the state of consumers and broker without a
connection to either.
"""
