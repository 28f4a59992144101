"""The architecture of Qwen2.5-Math-PRM (arXiv 2501.07301), so that its checkpoints load without running code of theirs."""

from __future__ import annotations

from typing import Any

from torch import nn
from transformers import Qwen2Config, Qwen2Model, Qwen2PreTrainedModel
from transformers.modeling_outputs import TokenClassifierOutput


class Qwen2ForProcessRewardModel(Qwen2PreTrainedModel):
    """Qwen2 with a head of two layers over every token; logits (B, T, 2), label 1 means right."""

    def __init__(self, config: Qwen2Config) -> None:
        config.num_labels = 2
        super().__init__(config)
        self.model = Qwen2Model(config)
        hidden = config.hidden_size
        self.score = nn.Sequential(nn.Linear(hidden, hidden), nn.ReLU(), nn.Linear(hidden, 2))
        self.post_init()

    def forward(self, input_ids: Any, attention_mask: Any = None) -> TokenClassifierOutput:
        """Args: input_ids (B, T), attention_mask (B, T)."""
        hidden_BTD = self.model(input_ids=input_ids, attention_mask=attention_mask, use_cache=False).last_hidden_state
        return TokenClassifierOutput(logits=self.score(hidden_BTD))
