"""Sentence similarity, for the benchmarks that compare free texts: cosine of mean-pooled encoder states.

GTA uses sentence-transformers' all-mpnet-base-v2, which is an MPNet encoder, mean pooling over the tokens and a
normalisation: with transformers alone the figures are the same. The weights are looked up locally or on the hub.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

from tracer.scoring.contract import BenchmarkError

Similarity = Callable[[str, str], float]
MAX_TOKENS = 384


def load(model: str) -> Similarity:
    """The similarity of a model id or folder; raises ``BenchmarkError`` where its weights are not to be had."""
    import torch
    from transformers import AutoModel, AutoTokenizer

    try:
        tokenizer: Any = AutoTokenizer.from_pretrained(model)
        encoder: Any = AutoModel.from_pretrained(model).eval()
    except (OSError, ValueError) as error:
        raise BenchmarkError(
            f"the protocol compares texts with {model}, which could not be loaded "
            f"({str(error).splitlines()[0][:200]}); fetch it, "
            f"name a folder that holds it in TRACER_SIMILARITY, or choose an *-objective protocol"
        ) from error

    @lru_cache(maxsize=4096)
    def embed(text: str) -> Any:
        tokens = tokenizer(text, truncation=True, max_length=MAX_TOKENS, return_tensors="pt")
        with torch.no_grad():
            states = encoder(**tokens).last_hidden_state[0]
        mask = tokens["attention_mask"][0].unsqueeze(-1)
        return torch.nn.functional.normalize((states * mask).sum(0) / mask.sum(), dim=0)

    def similarity(ours: str, theirs: str) -> float:
        return max(0.0, float(embed(ours) @ embed(theirs)))

    return similarity
