"""Building and measuring the candidates of a tuning run."""
