"""PPO and the reference policies in worlds where a decision costs later queries something."""
