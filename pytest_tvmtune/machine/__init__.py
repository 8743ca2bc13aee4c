"""This machine: fingerprint, cgroups, disturbances of measurements."""
