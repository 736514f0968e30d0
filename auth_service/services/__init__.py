"""Service accounts: other back-ends, their API keys, and what they get for them."""
