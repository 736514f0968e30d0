"""The life of one user here: their row beside the source's, what of them waits, what they get.

``model`` decides, ``read`` reads this side, ``at_source`` asks the other one. Nothing is written.
"""
