"""Posts: written by users, or kept up to date by a service for an author."""
