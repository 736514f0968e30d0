"""Replays: send recorded events, or the current state of users, to one consumer again.

``start`` requests one, ``change_state`` pauses, resumes and cancels it, ``replayer`` sends it from
the relay process. They share only the table of replays, so a replay survives every crash.
"""
