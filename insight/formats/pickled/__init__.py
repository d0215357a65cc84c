"""Reading pickles of plain data, without executing them."""
