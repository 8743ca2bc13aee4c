"""Whether numbers agree: tolerances, arrays, outputs, kernels."""
