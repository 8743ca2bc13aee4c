"""Tuning records on disk: one file a workload, MetaSchedule's work_dirs, what they may do."""
