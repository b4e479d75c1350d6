"""The parts that learned routers share: training examples, features, likelihood, and the router itself."""
