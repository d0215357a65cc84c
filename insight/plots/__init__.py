"""Pictures of what was measured. matplotlib (the extra ``plots``) is loaded when one is drawn."""
