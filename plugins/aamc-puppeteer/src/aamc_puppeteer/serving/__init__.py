"""Working on one task: along one path, along several paths, or by agents in a fixed order."""
