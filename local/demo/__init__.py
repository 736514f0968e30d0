"""The demonstration: users sign up, change and leave; parts break and heal; both tables agree.

``play`` lets it happen, ``scene`` has the figures, ``frame`` and ``lines`` show them, ``recording``
makes a picture of them, and ``run`` is the command.
"""
