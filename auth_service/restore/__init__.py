"""After a restore of the auth database: let no change of the lost time win over the present state.

``after_restore`` gives every user a version above every version that a replica may have; ``model``
checks the highest version, which the operator enters.
"""
