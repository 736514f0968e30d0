"""Access tokens, and the keys that sign them and by which others verify them.

``lifecycle`` is what operators do with keys, ``store`` alone writes their table, ``register`` adds
the one of the settings, ``private_keys`` opens the sealed ones. ``keyring`` has those that count in
this process; with the one that is active ``sign`` makes tokens. ``model`` is pure.
"""
