"""Questions to train on, as tasks and in the published format of records."""
