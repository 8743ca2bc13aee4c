"""Files on disk: tuning records, build entries, artifacts, baselines. No tvm here."""
