"""Service accounts: other back-ends, their API keys, and whether they may have a token.

``administer`` creates, disables and deletes accounts, ``keys`` issues and revokes their keys,
``authenticate`` checks a key, ``grant`` decides about a token, ``bearer`` checks one.
``revoke_tokens`` ends the tokens of an account, everywhere.
"""
