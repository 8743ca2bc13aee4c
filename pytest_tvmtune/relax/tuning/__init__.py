"""The tuner: MetaSchedule in a separate process, on a builder that forks."""
