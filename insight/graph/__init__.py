"""The graph of a symbol as Python nodes, and exact rewrites of it for inference."""
