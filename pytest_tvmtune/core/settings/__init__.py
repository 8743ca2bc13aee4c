"""The settings of a run and of a test: their names, types, defaults, and how users write them."""
