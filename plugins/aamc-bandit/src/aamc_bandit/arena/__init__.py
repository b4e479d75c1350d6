"""Arena mode: several candidates answer one query, a judge compares the answers, and the router learns from the comparisons."""

from aamc_bandit.arena.answer_arena import Arena, ArenaOptions, NoAnswerError
from aamc_bandit.arena.judges import AnswerJudge, JudgeVerdict, ModelJudge, ScoreJudge, escaped_tags
from aamc_bandit.arena.match import AnswerComparison, CandidateAnswer, Match, draw_entrants, shown_position, vote_feedback

__all__ = [
    "AnswerComparison",
    "AnswerJudge",
    "Arena",
    "ArenaOptions",
    "CandidateAnswer",
    "JudgeVerdict",
    "Match",
    "ModelJudge",
    "NoAnswerError",
    "ScoreJudge",
    "draw_entrants",
    "escaped_tags",
    "shown_position",
    "vote_feedback",
]
