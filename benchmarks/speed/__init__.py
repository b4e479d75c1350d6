"""The measurements of ``aamc bench speed``: the speed of all parts, beside other programs in the same run."""
