"""Groups that share their prompt: the G completions of a prompt are sampled and scored beside one copy of it.

GRPO samples G completions a prompt. Plain trainers repeat the prompt G times, in generation and again in the update,
and most of their work goes into copies. Here the completions lie side by side behind one prompt, kept apart by a 4D
attention mask and by position ids that start again after the prompt. The probabilities are those of separate
sequences; tests/unit/test_groups.py compares them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

CHUNK = 4
"""Groups that are scored together."""


def prompt_positions(mask: torch.Tensor) -> torch.Tensor:
    """Position ids (U, P) of prompts padded on the left, from their mask (U, P)."""
    return (mask.cumsum(dim=1) - 1).clamp(min=0)


def causal(mask: torch.Tensor) -> torch.Tensor:
    """The attention (U, 1, P, P), True where a query may look, of prompts padded on the left."""
    length = mask.shape[1]
    allowed = torch.ones(length, length, dtype=torch.bool, device=mask.device).tril()
    # A padded query looks at itself alone: a row without any key is NaN in some attention kernels.
    itself = torch.eye(length, dtype=torch.bool, device=mask.device)
    return ((allowed & mask.bool()[:, None, :]) | itself)[:, None]


@torch.no_grad()
def sample(
    model: Any,
    inputs: dict[str, torch.Tensor],
    *,
    size: int,
    max_new_tokens: int,
    temperature: float,
    eos: list[int],
    pad: int,
    banned: list[int],
    noise: Callable[[torch.Size], torch.Tensor] | None = None,
) -> torch.Tensor:
    """Sample ``size`` completions of each of U prompts: token ids (U * size, C), padded on the right.

    ``inputs`` are the model's inputs for the U prompts, padded on the left. ``banned`` tokens are never sampled.
    ``noise`` gives exponential random numbers (U * size, vocabulary), one call per token, instead of torch's stream.
    """
    ids, mask = inputs["input_ids"], inputs["attention_mask"]
    prompts = ids.shape[0]
    extra = {name: value for name, value in inputs.items() if name not in ("input_ids", "attention_mask")}
    output = model(
        input_ids=ids,
        attention_mask=causal(mask),
        position_ids=prompt_positions(mask),
        use_cache=True,
        logits_to_keep=1,
        **extra,
    )
    cache = output.past_key_values
    logits = output.logits[:, -1:, :].expand(-1, size, -1)
    start = mask.sum(dim=1, keepdim=True)
    ends = torch.tensor(eos, device=ids.device)
    finished = torch.zeros(prompts, size, dtype=torch.bool, device=ids.device)
    own = torch.eye(size, dtype=torch.bool, device=ids.device).expand(prompts, size, size)
    seen = mask.bool()[:, None, :].expand(-1, size, -1)
    tokens: list[torch.Tensor] = []
    for index in range(max_new_tokens):
        scores = logits.float() / temperature
        scores[..., banned] = -torch.inf
        chances = scores.softmax(-1).view(-1, scores.shape[-1])
        if noise is None:
            drawn = torch.multinomial(chances, 1).view(prompts, size)
        else:  # the same distribution: the smallest of exponential times with these rates
            drawn = (chances / noise(chances.shape)).argmax(-1).view(prompts, size)
        drawn = drawn.masked_fill(finished, pad)
        tokens.append(drawn)
        finished = finished | torch.isin(drawn, ends)
        if bool(finished.all()) or index == max_new_tokens - 1:
            break
        seen = torch.cat([seen, own], dim=2)
        output = model(
            input_ids=drawn,
            attention_mask=seen[:, None],
            position_ids=(start + index).expand(-1, size),
            past_key_values=cache,
            use_cache=True,
        )
        cache, logits = output.past_key_values, output.logits
    return torch.stack(tokens, dim=2).view(prompts * size, -1)


def score(
    model: Any,
    prompts: torch.Tensor,
    prompt_mask: torch.Tensor,
    completions: torch.Tensor,
    completion_mask: torch.Tensor,
    groups: torch.Tensor,
    temperature: float,
    extra: dict[str, torch.Tensor],
) -> tuple[torch.Tensor, torch.Tensor]:
    """Log-probabilities and entropies (B, C) of completions (B, C) after the prompts (U, P) that ``groups`` (B,) names.

    Both are 0 where a completion is padding. ``extra`` holds the model's other inputs for the U prompts, such as
    pixel_values. Groups of like length go through the model together: padding costs as much as tokens.
    """
    order = prompt_mask.sum(dim=1).argsort(stable=True)
    rows, logprobs, entropies = [], [], []
    for chunk in order.split(CHUNK):
        number = torch.full((len(prompts),), -1, device=groups.device).index_copy(
            0, chunk, torch.arange(len(chunk), device=groups.device)
        )
        members = (number[groups] >= 0).nonzero().squeeze(1)
        length, width = int(prompt_mask[chunk].sum(dim=1).max()), int(completion_mask[members].sum(dim=1).max())
        chosen, entropy = _score_packed(
            model,
            prompts[chunk, -length:],
            prompt_mask[chunk, -length:],
            completions[members, :width],
            completion_mask[members, :width].bool(),
            number[groups[members]],
            temperature,
            {name: value[chunk] for name, value in extra.items()},
        )
        padding = (0, completions.shape[1] - width)
        rows.append(members)
        logprobs.append(torch.nn.functional.pad(chosen, padding))
        entropies.append(torch.nn.functional.pad(entropy, padding))
    back = torch.cat(rows).argsort()
    return torch.cat(logprobs)[back], torch.cat(entropies)[back]


def _score_packed(
    model: Any,
    prompts: torch.Tensor,
    prompt_mask: torch.Tensor,
    completions: torch.Tensor,
    completion_mask: torch.Tensor,
    groups: torch.Tensor,
    temperature: float,
    extra: dict[str, torch.Tensor],
) -> tuple[torch.Tensor, torch.Tensor]:
    number, width = prompts.shape[0], completions.shape[1]
    slot = slots(groups, number)
    size = int(slot.max()) + 1
    packed = completions.new_zeros(number, size, width)
    packed[groups, slot] = completions
    ids = torch.cat([prompts, packed.view(number, size * width)], dim=1)
    start = prompt_mask.sum(dim=1, keepdim=True)
    steps = torch.arange(width, device=ids.device).repeat(size)[None]
    positions = torch.cat([prompt_positions(prompt_mask), start + steps], dim=1)
    output = model(
        input_ids=ids,
        attention_mask=_packed_attention(prompt_mask, size, width),
        position_ids=positions,
        logits_to_keep=size * width + 1,
        use_cache=False,
        **extra,
    )
    # The first token of every completion is predicted by the prompt's last position, the others by their predecessor.
    first = output.logits[:, :1].expand(-1, size, -1)[:, :, None]
    rest = output.logits[:, 1:].view(number, size, width, -1)[:, :, :-1]
    logits = torch.cat([first, rest], dim=2)[groups, slot].float() / temperature
    logprobs = logits.log_softmax(-1)
    chosen = logprobs.gather(-1, completions[..., None]).squeeze(-1)
    with torch.no_grad():
        entropy = -(logprobs.exp() * logprobs).sum(-1)
    return chosen.masked_fill(~completion_mask, 0.0), entropy.masked_fill(~completion_mask, 0.0)


def slots(groups: torch.Tensor, number: int) -> torch.Tensor:
    """The place (B,) of each completion among those of its group, in batch order."""
    one_hot = torch.nn.functional.one_hot(groups, number)
    return one_hot.cumsum(dim=0).gather(1, groups[:, None]).squeeze(1) - 1


def _packed_attention(prompt_mask: torch.Tensor, size: int, width: int) -> torch.Tensor:
    """(U, 1, N, N), N = P + size * width: a completion looks at its prompt and at its own past."""
    number, length = prompt_mask.shape
    total = length + size * width
    allowed = torch.zeros(number, total, total, dtype=torch.bool, device=prompt_mask.device)
    allowed[:, :length, :length] = causal(prompt_mask)[:, 0]
    allowed[:, length:, :length] = prompt_mask.bool()[:, None, :]
    triangle = torch.ones(width, width, dtype=torch.bool, device=prompt_mask.device).tril()
    allowed[:, length:, length:] = torch.block_diag(*[triangle] * size)
    return allowed[:, None]


def unique_prompts(
    ids: torch.Tensor, mask: torch.Tensor, extra: dict[str, torch.Tensor]
) -> tuple[list[int], torch.Tensor]:
    """Which rows are the first of their prompt, and the group (B,) of every row. Other pixels, other prompt."""
    first: dict[bytes, int] = {}
    rows: list[int] = []
    groups: list[int] = []
    for row in range(ids.shape[0]):
        parts = [ids[row], mask[row], *(value[row] for value in extra.values())]
        key = b"".join(part.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes() for part in parts)
        if key not in first:
            first[key] = len(rows)
            rows.append(row)
        groups.append(first[key])
    return rows, torch.tensor(groups, device=ids.device)
