"""A model on its verification sets, for people: one HTML page that needs nothing else, and a Markdown model card."""
