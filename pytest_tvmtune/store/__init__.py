"""Files on disk: tuning records, builds, artifacts, baselines. No tvm here."""
