"""All processes, as an operator starts them."""
