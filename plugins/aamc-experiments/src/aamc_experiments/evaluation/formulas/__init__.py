"""The formulas of metrics, one family a module: arena score, frontiers, multi-objective figures, strong and weak calls, calibration, ROC, lengths."""
