"""Trials of a new router on live traffic: canary, shadow, and the statistics that compare the two routers."""
