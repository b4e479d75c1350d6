"""Training of the policy: a supervised warm start, then GRPO by TRL. Importing it loads no torch."""
