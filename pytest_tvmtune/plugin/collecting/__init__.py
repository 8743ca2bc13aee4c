"""From marked tests and model files to items: variants, parameters, identities."""
