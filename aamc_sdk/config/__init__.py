"""Options of components and configuration files."""

from aamc_sdk.config.options import changed_options, configure, describe_options, load_yaml, option, parse_yaml, set_option, to_yaml, unstructure
from aamc_sdk.config.settings import EXPERIMENT_KEYS, NO_ESTIMATOR, SERVER_KEYS, SERVING_KEYS, Choice, ServingSettings, check_seed

__all__ = [
    "EXPERIMENT_KEYS",
    "NO_ESTIMATOR",
    "SERVER_KEYS",
    "SERVING_KEYS",
    "Choice",
    "ServingSettings",
    "changed_options",
    "check_seed",
    "configure",
    "describe_options",
    "load_yaml",
    "option",
    "parse_yaml",
    "set_option",
    "to_yaml",
    "unstructure",
]
