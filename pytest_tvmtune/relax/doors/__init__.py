"""Front doors: one module for each kind of model source, each ending in a Model."""
