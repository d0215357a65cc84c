"""How fast a model runs in each runtime, and how near its embeddings stay to plain MXNet's."""
