"""Certificates: the source's signed statements that this replica equals it, kept as a chain.

``obtain`` asks for one about once a minute, after a proof that found no difference. ``store`` keeps
them, thinned with age (``thin``). ``agreement`` computes from them the share of time in which the
replica was proved to be equal, ``verify`` checks a chain with public keys alone.

The format is ``contracts.sync.certificate``.
"""
