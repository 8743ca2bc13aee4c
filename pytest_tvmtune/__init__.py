"""Performance-regression testing of models compiled by Apache TVM, as a pytest plugin."""
