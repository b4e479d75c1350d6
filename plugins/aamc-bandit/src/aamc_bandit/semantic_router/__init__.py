"""Configuration files and state files of vLLM Semantic Router."""

from aamc_bandit.semantic_router.config_format import SemanticRouterFormat, read_arena

__all__ = ["SemanticRouterFormat", "read_arena"]
