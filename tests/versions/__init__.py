"""Other versions of TVM: their environments, and what crosses from one version to the next."""
