"""The audit log: who did what to which account, and when. Entries are permanent."""
