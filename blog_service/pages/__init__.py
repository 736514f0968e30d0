"""The blog's pages, readable without JavaScript, and its feeds.

Each view that shows content has an address of its own, at which the server sends it complete, in
the look of ``web``. With JavaScript, the scripts of ``web`` take over from there: they have the
same addresses, and build the same view from the API.

Guarantees: a page shows what the API shows to a visitor without an account, read by the same
statements; it is the same for all visitors. Texts are escaped by the templates; the HTML of a post
or comment comes from ``markdown``.
"""
