"""Values and rules: standard library and numpy only, no files, no processes, no tvm."""
