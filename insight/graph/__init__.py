"""The symbol's graph as Python nodes, and exact rewrites of it for inference."""
