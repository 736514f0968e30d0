"""How a process of ours behaves: what every service needs at run time and no contract mentions.

``http``: serving and everything around a request. ``process``: settings, logs, terminal, tasks.
``database`` and ``broker``: connections, and what is wrong with them in words.

Modules here may import ``contracts``, and nothing else of ours. What services agree on belongs in
``contracts``; what only one of them needs belongs in that service.
"""
