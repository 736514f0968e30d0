"""The fault injector of ``make up``: it breaks parts of this machine's system when asked.

The console's page *Break it* asks it. The services know nothing of it but the page's link: the
right to kill a process, to purge a queue or to write another's rows stays with those who may run
``make up`` here. ``model`` says what there is to break, ``stage`` what it is broken on, ``inject``
breaks it, and ``api`` takes orders from operators alone.

Guarantees: only what this checkout started is stopped, and it comes back by itself; only people who
were signed up for it are harmed; servers that the environment names are left alone.
"""
