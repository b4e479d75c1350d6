"""Poolings of a transformer's token vectors, as in the sentence-transformers library; B texts, T tokens, H numbers a token."""

from __future__ import annotations

from collections.abc import Sequence

import torch


def pool_tokens(states: torch.Tensor, mask: torch.Tensor, poolings: Sequence[str]) -> torch.Tensor:
    """Return the poolings of each text side by side, ``[B, H * len(poolings)]``; zeros for a text without tokens.

    Args:
        states: Token vectors, ``[B, T, H]``.
        mask: 1 for tokens that are pooled, else 0, ``[B, T]``.
        poolings: Names, as in :data:`aamc_tce.encoders.sentence_format.FLAGS`.
    """
    parts = [_maximum(states, mask) if name == "max" else (states * _weights(name, mask).unsqueeze(2)).sum(dim=1) for name in poolings]
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)


def without_first(mask: torch.Tensor, count: int) -> torch.Tensor:
    """Return a mask ``[B, T]`` without the first ``count`` tokens."""
    return mask * (torch.arange(mask.shape[1], device=mask.device) >= count) if count else mask


def _maximum(states: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    highest = states.masked_fill(mask.unsqueeze(2) == 0, -torch.inf).amax(dim=1)
    return torch.where(mask.any(dim=1, keepdim=True), highest, 0.0)


def _weights(pooling: str, mask: torch.Tensor) -> torch.Tensor:
    """Return the weight of each token, ``[B, T]``: every pooling but the maximum is a weighted sum."""
    if pooling == "mean":
        return mask / mask.sum(dim=1, keepdim=True).clamp(min=1)
    if pooling == "mean_sqrt_len_tokens":
        return mask / mask.sum(dim=1, keepdim=True).clamp(min=1).sqrt()
    if pooling == "weightedmean":
        places = mask * torch.arange(1, mask.shape[1] + 1, device=mask.device)
        return places / places.sum(dim=1, keepdim=True).clamp(min=1)
    place = mask.cumsum(dim=1)
    only = place == (1 if pooling == "cls" else place[:, -1:])
    return mask * only


def side_by_side(layers: Sequence[torch.Tensor], *, normalize: bool) -> torch.Tensor:
    """Concatenate pooled layers ``[B, W]`` with equal norms to unit length; a single layer is scaled only if ``normalize``."""
    if len(layers) == 1:
        return torch.nn.functional.normalize(layers[0], dim=1) if normalize else layers[0]
    scale = len(layers) ** -0.5
    return torch.cat([scale * torch.nn.functional.normalize(layer, dim=1) for layer in layers], dim=1)
