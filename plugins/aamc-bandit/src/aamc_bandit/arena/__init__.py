"""Arena mode: several candidates answer at once, a judge compares the answers, and the router learns who won."""

from aamc_bandit.arena.answer_arena import Arena, ArenaOptions, NoAnswerError
from aamc_bandit.arena.judges import Judge, ModelJudge, ScoreJudge, Verdict
from aamc_bandit.arena.match import Answer, Comparison, Match

__all__ = ["Answer", "Arena", "ArenaOptions", "Comparison", "Judge", "Match", "ModelJudge", "NoAnswerError", "ScoreJudge", "Verdict"]
