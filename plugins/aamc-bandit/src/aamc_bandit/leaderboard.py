"""Leaderboards: candidates ranked by feedback, globally or for one category, user or session."""

from __future__ import annotations

import attrs

from aamc_bandit.thompson.beta_evidence import GLOBAL_ENTITY, BetaEvidence


@attrs.frozen(kw_only=True)
class Standing:
    """A candidate's place on a leaderboard.

    Attributes:
        candidate: Its name.
        alpha: Alpha of its Beta posterior.
        beta: Beta of its Beta posterior.
        feedback: Number of pieces of feedback.
        updated: Time of the latest feedback, in seconds since the epoch.
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


def leaderboard(evidence: BetaEvidence, level: str = "global", name: str = GLOBAL_ENTITY, prior: tuple[float, float] = (1.0, 1.0)) -> list[Standing]:
    """Return all candidates with feedback, highest posterior mean first; ties go to the candidate with more feedback.

    Args:
        evidence: The evidence of a router ``thompson`` or ``epsilon-greedy``.
        level: ``"global"``, ``"category"``, ``"user"`` or ``"session"``.
        name: The category; the user or session, by :func:`aamc_sdk.types.tenant_user` or :func:`aamc_bandit.thompson.session_key`;
            empty at the global level.
        prior: Alpha and beta without any evidence.
    """
    entity = evidence.entities(level).get(name)
    if entity is None:
        return []
    names = sorted(entity.candidates)
    wins, losses = evidence.table(level, name, names)[:, :2].T.tolist()
    standings = [
        Standing(candidate=name, alpha=prior[0] + won, beta=prior[1] + lost, feedback=known.total, updated=known.updated)
        for name, known, won, lost in zip(names, map(entity.candidates.__getitem__, names), wins, losses, strict=True)
    ]
    return sorted(standings, key=lambda standing: (-standing.mean, -standing.feedback))
