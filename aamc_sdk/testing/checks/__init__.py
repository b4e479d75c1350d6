"""The checks of each kind of component, by the contract of its interface."""
