"""What is behind wrong numbers: the kernel that diverges, prepacked parameters, a reproducer."""
