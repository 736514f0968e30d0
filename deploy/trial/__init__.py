"""Try each profile of the compose file: start it from nothing, break it, remove it.

``python3 -m deploy.trial cluster`` needs Docker, and Python without packages. It uses ports,
a network and volumes of its own, and passwords that it makes, so that a system that runs here is
not disturbed.
"""
