"""Everything that touches TVM: targets, front doors, tuning, compiling, running, measuring."""
