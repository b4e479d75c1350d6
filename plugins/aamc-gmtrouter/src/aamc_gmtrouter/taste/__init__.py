"""The taste of a user: a Gaussian process over rated answers, with a population's prior."""

from aamc_gmtrouter.taste.model import FIT_ROWS, FIT_USERS, SLOPE, ModelFeatures, PreferenceModel, UserVector
from aamc_gmtrouter.taste.population import fit_population

__all__ = ["FIT_ROWS", "FIT_USERS", "SLOPE", "ModelFeatures", "PreferenceModel", "UserVector", "fit_population"]
