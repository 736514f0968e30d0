"""Access tokens, and the keys that sign and verify them.

``lifecycle`` has the operators' changes of keys, ``store`` alone writes their table,
``import_configured_key`` adds the key of AUTH_PRIVATE_KEY, ``private_keys`` decrypts stored keys.
``keyring`` holds the keys in use in this process; with the active one ``sign`` signs tokens.
``model`` is pure.
"""
