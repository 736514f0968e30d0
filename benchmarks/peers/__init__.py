"""What a user would otherwise build, as the libraries' own documentation shows it."""
