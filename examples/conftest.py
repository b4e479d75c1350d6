"""Examples that pytest does not collect."""

collect_ignore = ["third_party_plugin"]  # its tests run in a fresh environment, by tests/test_third_party_plugin.py
