"""Routers that learn the expected quality of each candidate."""

from aamc_baselines.learned.ensemble import Ensemble
from aamc_baselines.learned.gbdt import Gbdt
from aamc_baselines.learned.irt import Irt
from aamc_baselines.learned.knn import Knn
from aamc_baselines.learned.logistic import Logistic
from aamc_baselines.learned.mf import Mf
from aamc_baselines.learned.mlp import Mlp
from aamc_baselines.learned.ridge import Ridge
from aamc_baselines.learned.svm import Svm

__all__ = ["Ensemble", "Gbdt", "Irt", "Knn", "Logistic", "Mf", "Mlp", "Ridge", "Svm"]
