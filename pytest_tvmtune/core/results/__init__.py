"""What a case came to."""
