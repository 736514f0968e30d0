"""Erase what deleted users and deleted posts leave behind: profiles, posts and comments.

``due`` finds by the state of the tables whose content has to go, ``sweep`` makes rounds of it and
keeps at it beside the consumer, ``content`` erases rows; ``model`` says how many at once, and how
long an orphan's content is kept.
"""
