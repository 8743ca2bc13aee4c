"""The verdict on a commit in a bisection."""
