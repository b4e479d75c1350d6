"""Who leads, by the feedback so far: everywhere, in a category, for a user or in a session."""

from __future__ import annotations

import attrs

from aamc_bandit.thompson.evidence import EVERYWHERE, Evidence


@attrs.frozen(kw_only=True)
class Standing:
    """A candidate's place on a leaderboard.

    Attributes:
        candidate: Its name.
        alpha: Of its Beta posterior.
        beta: Likewise.
        feedback: How many judgements that rests on.
        updated: When the last of them was given, in seconds since the epoch.
    """

    candidate: str
    alpha: float
    beta: float
    feedback: int
    updated: float

    @property
    def mean(self) -> float:
        """The posterior mean."""
        return self.alpha / (self.alpha + self.beta)


def leaderboard(evidence: Evidence, level: str = "global", name: str = EVERYWHERE, prior: tuple[float, float] = (1.0, 1.0)) -> list[Standing]:
    """Return the candidates that feedback has named, the greatest posterior mean first; of equals, the one with more feedback.

    Args:
        evidence: A router's.
        level: ``"global"``, ``"category"``, ``"user"`` or ``"session"``.
        name: Whose leaderboard: the category, the user or the session.
        prior: Alpha and beta without any evidence.
    """
    entity = evidence.entities(level).get(name)
    if entity is None:
        return []
    names = sorted(entity.cells)
    wins, losses = evidence.table(level, name, names)[:, :2].T.tolist()
    standings = [
        Standing(candidate=name, alpha=prior[0] + won, beta=prior[1] + lost, feedback=entity.cells[name].total, updated=entity.cells[name].updated)
        for name, won, lost in zip(names, wins, losses, strict=True)
    ]
    return sorted(standings, key=lambda standing: (-standing.mean, -standing.feedback))
