"""Router-R1 for the AAMC SDK: a language model thinks, consults models of the pool over several rounds, and answers."""
