"""Questions with gold answers: the seven benchmarks of the paper in their published formats."""

from aamc_router_r1.questions.dataset import QuestionDataset, golds_of
from aamc_router_r1.questions.formats import PUBLISHED, read_questions

__all__ = ["PUBLISHED", "QuestionDataset", "golds_of", "read_questions"]
