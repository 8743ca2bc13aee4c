"""Running a built model for deployment: its transformed parameters, and a script."""
