"""The command ``aamc serve``: its launch, the supervisor of its workers, and a worker."""
