"""Before any test file is imported."""

from __future__ import annotations

import os

from hypothesis import settings

from tests.support.quick_frames import search_no_made_up_files

search_no_made_up_files()
settings.register_profile("quick", deadline=None, max_examples=50, derandomize=True, database=None)
settings.register_profile("long", deadline=None, max_examples=2000, database=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))
