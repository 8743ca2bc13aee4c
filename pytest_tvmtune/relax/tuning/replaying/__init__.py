"""Records of one version of TVM, applied under another."""
