"""The tuner: MetaSchedule in a process of its own, on a builder that forks."""
