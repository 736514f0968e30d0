"""How a process of ours behaves: what every service needs at run time and no contract mentions.

``processes`` starts a process, ``http`` serves, ``database`` and ``broker`` connect, ``process``
has settings, logs, traces, the terminal and tasks. Code that services agree on belongs in
``contracts``; code that one service needs belongs in that service. Imports ``contracts`` only.
"""
