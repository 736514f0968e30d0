"""Common alternatives, built as the libraries' own documentation shows them."""
