"""Values and rules: numpy and msgspec at most; no files, no processes, no tvm."""
