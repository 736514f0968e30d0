"""Mails, and the links in them: requested in a transaction, sent from a queue, used once.

``letters`` says which mails there are, ``request`` queues one, ``sender`` sends what is due within
the limits (``limit``), ``links`` creates and uses links.

Not here: what a link does when it is used (``accounts``).
"""
