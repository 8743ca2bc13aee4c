"""The results of `tvmtune vet`, and the rules that separate a runtime from generated code."""
