"""The pipe's far end, for operators: its figures, how it did, and whether it is quiet or broken."""
