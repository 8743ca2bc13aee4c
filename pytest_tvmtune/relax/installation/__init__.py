"""Whether the installation works, and its identity by content."""
