"""Training of the heads, on a frozen encoder or together with it."""
