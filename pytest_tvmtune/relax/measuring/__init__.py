"""Running and timing loaded artifacts, as a whole and kernel by kernel."""
