"""Settings of every test of the repository."""

from hypothesis import settings

# The same examples in every run, and no limit on the time that one takes: a busy machine would break it now and then. To look for new ones, run
# pytest --hypothesis-profile=default.
settings.load_profile("ci")
