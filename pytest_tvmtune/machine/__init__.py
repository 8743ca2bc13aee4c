"""What this machine is: fingerprint, CPU features, what keeps it from timing precisely."""
