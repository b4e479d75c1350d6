"""The measurements of ``aamc bench speed``: the speed of all parts and of other programs in the same run."""
