"""The embedded world: problems with exact answers and a small base model, so that everything runs without a download."""

from pathlib import Path

BASE = Path(__file__).parent / "base"  # the base model, trained by `rftt toy build`
