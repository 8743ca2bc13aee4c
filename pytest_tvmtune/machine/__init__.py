"""What this machine is: fingerprint, cgroups, what keeps it from timing precisely."""
