"""Show the checked-in documents to people: Markdown for the documentation site. Pure."""
