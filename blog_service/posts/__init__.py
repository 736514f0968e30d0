"""Posts: written by users, or created and updated by a service for an author."""
