"""After a restore of the auth database: nothing of the lost time may win over what is there now.

``restored`` gives everybody a version above all that a replica may hold; ``model`` judges what the
operator says that is.
"""
