"""What containers are deployed with: configuration, scripts, and a trial of each profile.

``docs/deploy-with-compose.md`` explains it. No service imports anything from here.
"""
