"""Whether what is installed works, and what it is by content."""
