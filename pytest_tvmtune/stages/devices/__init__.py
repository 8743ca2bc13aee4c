"""Where the library of a case runs: the device that a case has, the jobs there, and its calls."""
