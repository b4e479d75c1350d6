"""The formulas of metrics, one family a module: frontiers, multi-objective figures, strong and weak calls, calibration, ROC, answer lengths."""
