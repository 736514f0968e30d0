"""Replays: send recorded events, or users as they are, to one consumer once more.

``start`` asks for one, ``steer`` pauses, resumes and cancels it, ``replayer`` does the work inside
the relay process. The table of jobs is all that they share, so that a replay survives every crash.
"""
