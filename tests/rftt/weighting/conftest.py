"""Fixtures of SFT and token weights: a tiny model with functional tokens, and chains for it."""

from tests.rftt.chains import chains, model

__all__ = ["chains", "model"]
