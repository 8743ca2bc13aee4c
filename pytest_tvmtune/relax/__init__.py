"""Everything that touches TVM: targets, importing, tuning, compiling, running, measuring."""
