"""Routers without a model of quality: fixed choices, rules, the greedy rule and the oracle."""
