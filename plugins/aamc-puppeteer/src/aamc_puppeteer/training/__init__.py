"""Training the policy by REINFORCE, and the record that a training leaves."""
