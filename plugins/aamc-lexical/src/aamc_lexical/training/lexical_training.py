"""How the estimator ``lexical`` learns: the lexicon, then linear heads and, with outcomes, the blend of experts."""

from __future__ import annotations

from aamc_lexical.config import LexicalConfig
from aamc_lexical.embeddings.lexicon import Lexicon
from aamc_lexical.heads.linear_heads import fit_heads
from aamc_lexical.quality.experts import CategoryMeans, Expert
from aamc_lexical.trained_estimator import Learned
from aamc_lexical.training.cross_fitting import Fitted, Lesson, describe, smoothing_experts, with_quality
from aamc_lexical.training.training_rows import Material, Rows


def learn(config: LexicalConfig, material: Material) -> tuple[Lesson, Lexicon]:
    """Learn all there is to learn."""
    targets, progress = material.targets, material.training.progress
    progress.start("words and quality", 2 + (2 * config.folds if targets.candidates else 0))
    lexicon = Lexicon.fit([material.texts[row] for row in material.rows], config)
    embedding = lexicon(material.texts)
    progress.advance()

    def fit(rows: Rows, _: str) -> Fitted:
        known, own = targets.take(rows), embedding[rows]
        heads = fit_heads(own, known)
        experts: dict[str, Expert] = {}
        if targets.candidates:
            experts = smoothing_experts(config, own, known, material.seed)
            if targets.category_names:
                experts[CategoryMeans.kind] = CategoryMeans.fit(known.category, known.quality, heads, len(targets.category_names))
        progress.advance()
        return Fitted(heads, experts, lambda wanted: embedding[wanted])

    fitted = fit(material.rows, "all rows")
    learned = Learned(encoder=lexicon.fingerprint, heads=fitted.heads, category_names=targets.category_names)
    if not targets.candidates:
        return Lesson(learned, fitted.curve), lexicon
    return with_quality(learned, fitted, material, config.folds, fit, lambda pool: describe(pool, lexicon)), lexicon
