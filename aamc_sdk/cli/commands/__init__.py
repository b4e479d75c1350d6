"""The commands of the core, a module each; `aamc` imports one when it is used."""
