"""Training of the estimator ``lexical``: the lexicon, then linear heads and, with outcomes, the blend of experts."""

from __future__ import annotations

from functools import partial

from aamc_lexical.config import LexicalConfig
from aamc_lexical.embeddings.lexicon import Lexicon
from aamc_lexical.heads.linear_heads import fit_heads
from aamc_lexical.quality.experts import CategoryExpert, NeighbourExpert
from aamc_lexical.text_length import with_length
from aamc_lexical.trained_estimator import TrainedEstimator
from aamc_lexical.training.cross_fitting import FittedParts, TrainingResult, embed_descriptions, smoothing_experts, with_lengths, with_quality
from aamc_lexical.training.training_rows import Rows, TrainingRows


def train_lexical(config: LexicalConfig, data: TrainingRows) -> tuple[TrainingResult, Lexicon]:
    """Train all parts of the estimator; return them with the lexicon."""
    targets, progress = data.targets, data.training.progress
    progress.start("words and quality", 2 + (config.folds if targets.candidates else 0))
    lexicon = Lexicon.fit([data.texts[row] for row in data.rows], config)
    text_length = data.text_length(config.max_characters)
    embedding = with_length(lexicon(data.texts), data.texts, text_length)
    progress.advance()

    def fit(rows: Rows, _: str) -> FittedParts:
        known, own = targets.take(rows), embedding[rows]
        heads = fit_heads(own, known)
        experts = smoothing_experts(config, own, known, heads, data.seed)
        progress.advance()
        return FittedParts(heads, experts, lambda wanted: embedding[wanted])

    fitted = fit(data.rows, "all rows")
    learned = TrainedEstimator(encoder=lexicon.fingerprint, heads=fitted.heads, category_names=targets.category_names, text_length=text_length)
    result = TrainingResult(learned, fitted.curve)
    if targets.candidates:
        described = partial(embed_descriptions, embed=lexicon)
        measured_by = [kind for kind in (NeighbourExpert.kind, CategoryExpert.kind) if kind in fitted.experts]
        result = with_quality(learned, fitted, data, config.folds, fit, described, measured_by)
    return with_lengths(result, data, config.folds, fitted.embed), lexicon
