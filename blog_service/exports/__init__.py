"""Export what the blog knows of a user: over HTTP for themselves, by a command for an operator."""
