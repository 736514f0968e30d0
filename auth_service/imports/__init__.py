"""Bring the users of another system along: read its export, judge each line, insert, report.

``sources`` know the exports of other systems, ``hashes`` their password hashes, ``model`` decides
what becomes of a line, ``load`` writes, ``pace`` keeps live events ahead.

Not here: checking such a hash when its user signs in (``users.foreign_hashes``).
"""
