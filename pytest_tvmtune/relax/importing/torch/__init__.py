"""torch models: exported, their dynamic dimensions given sizes, imported."""
