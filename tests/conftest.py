"""Settings of all tests."""

from hypothesis import settings

# No test is timed: on a busy machine a law would fail for taking long.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")
