"""How a process of ours behaves: what both services need at run time and no contract mentions.

Modules here may import ``contracts``, and no service. What the services agree on belongs in
``contracts``; what only one of them needs belongs in that service.
"""
