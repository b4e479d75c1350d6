"""Components that depend on ``hash()``, which another process can import."""

import numpy as np

from aamc_sdk import Estimates, Estimator, Requirements, Router, Scores


class Steady(Router):
    """Prefers the candidates in alphabetical order."""

    requires = Requirements(text=True)
    uses_preference = False

    def number(self, text):
        return sum(map(ord, text))

    def score(self, request):
        rows = [[float(self.number(query.text + name) % 97) for name in request.pool.names] for query in request.queries]
        return Scores(np.array(rows).reshape(len(request), len(request.pool)))


class Hashing(Steady):
    def number(self, text):
        return hash(text)


class Lengths(Estimator):
    """Complexity from the number of characters."""

    def number(self, text):
        return len(text)

    def name(self):
        return "lengths"

    def estimate(self, queries):
        complexity = np.array([self.number(query.text) % 97 / 97 for query in queries])
        return Estimates(complexity, np.empty((len(queries), 0)), (), complexity, None, self.name())


class HashedLengths(Lengths):
    def number(self, text):
        return hash(text)


class HashedName(Lengths):
    def name(self):
        return f"lengths-{hash('lengths')}"
