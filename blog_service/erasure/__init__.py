"""Erase the content of deleted users and deleted posts: profiles, posts and comments.

``due`` finds whose content to erase, ``content`` erases the rows, and ``sweep`` does both in small
transactions, continuously, in the consumer process. ``model`` sets the batch sizes and how long an
orphan's content is retained.
"""
