"""The stages of `tvmtune vet`: run the tests in both environments, pair their cases, compare."""
