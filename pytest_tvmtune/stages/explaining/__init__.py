"""What is behind a finding: the record, the kernel, the version that it comes from."""
