"""Router ``ppo``: proximal policy optimisation over candidates, conditioned on the preference."""
