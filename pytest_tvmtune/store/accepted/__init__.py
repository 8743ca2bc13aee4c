"""What was accepted: baselines, golden outputs, and their files to carry elsewhere."""
