"""The conformance kit: what a consumer in any language must do, as data, and a runner to try it.

``vectors`` has messages, merges, digests and tokens with what follows from each, as our code says
(``write_vectors``). ``python -m contracts.conformance run`` feeds them to a consumer and compares
its table. README.md describes both for people who use another language.

Not here: topology, which ``contracts.events.asyncapi`` describes.
"""
