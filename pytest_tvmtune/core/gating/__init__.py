"""The latency gate's rules: evidence, decision, accepted baseline, cause."""
