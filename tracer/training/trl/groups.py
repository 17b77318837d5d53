"""Groups that share their prompt: the completions of a prompt are sampled and scored beside one copy of it.

GRPO samples a group of completions for each prompt. Plain trainers repeat the prompt for each of them, in generation
and again in the update, and most of their work goes into copies. Here a group's completions lie side by side behind one
prompt, kept apart by a 4D attention mask and by position ids that start again after the prompt. The probabilities are
those of separate sequences; tests/unit/test_groups.py compares the two.

Shapes: ``groups`` prompts, padded on the left to ``prompt`` tokens; ``size`` completions of each, padded on the right
to ``tokens``; ``batch`` completions of any groups in any order; ``packed`` = prompt + size * tokens; ``axes`` = 1, or 3
(time, height, width) for models with multimodal rotary positions, such as Qwen3-VL.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from tracer.planner.cache import cache
from tracer.planner.constraint import Answers

CHUNK = 4
"""Groups that are scored together."""
MOST_LOGITS = 2**28
"""Logits that are kept for the gradient: of more, those of one completion at a time are computed, and again for it."""


GRID = "image_grid_thw"
"""The input (groups, 3) that says how many patches the picture of each prompt has, where these follow one another."""


def prompt_positions(model: Any, inputs: Mapping[str, Tensor]) -> Tensor:
    """Position ids (axes, groups, prompt) of prompts padded on the left.

    With multimodal rotary positions (Qwen2-VL, arXiv 2409.12191, section 2.1) a picture's tokens are numbered by its
    rows and columns, and the text goes on after the larger of the two.
    """
    mask = inputs["attention_mask"]
    if GRID not in inputs:
        return (mask.cumsum(dim=1) - 1).clamp(min=0)[None]
    multimodal = next(each for each in model.modules() if hasattr(each, "get_rope_index"))
    pictured = (inputs["input_ids"] == multimodal.config.image_token_id).int()
    found: Tensor = multimodal.get_rope_index(inputs["input_ids"], pictured, inputs[GRID], attention_mask=mask)[0]
    return found


def after(positions: Tensor) -> Tensor:
    """The position (groups, 1) that follows those (axes, groups, prompt) of each prompt, the same on every axis."""
    return positions.amax(dim=(0, 2))[:, None] + 1


def _as_ids(positions: Tensor) -> Tensor:
    """Positions (axes, groups, some) as models take them: without the axes where there is one."""
    return positions[0] if len(positions) == 1 else positions


def causal(mask: Tensor) -> Tensor:
    """The attention (groups, 1, prompt, prompt) of prompts padded on the left: True where a query may look."""
    length = mask.shape[1]
    allowed = torch.ones(length, length, dtype=torch.bool, device=mask.device).tril()  # (prompt, prompt)
    # A padded query looks at itself alone: a row without any key is NaN in some attention kernels.
    itself = torch.eye(length, dtype=torch.bool, device=mask.device)  # (prompt, prompt)
    return ((allowed & mask.bool()[:, None, :]) | itself)[:, None]


@torch.no_grad()
def sample(
    model: Any,
    inputs: dict[str, Tensor],
    *,
    size: int,
    max_new_tokens: int,
    temperature: float,
    eos: list[int],
    pad: int,
    noise: Callable[[torch.Size], Tensor] | None = None,
    answers: Answers | None = None,
) -> Tensor:
    """Sample ``size`` completions of each prompt: token ids (groups * size, tokens), padded after their end.

    ``inputs`` are the model's inputs for the prompts, padded on the left. ``noise`` gives exponential random numbers
    (groups * size, vocabulary), one call per token, in place of torch's own stream. ``answers``, one a completion, say
    which tokens may come next.
    """
    extra = dict(inputs)
    ids, mask = extra.pop("input_ids"), extra.pop("attention_mask")  # (groups, prompt)
    prompts, device = ids.shape[0], ids.device
    positions = prompt_positions(model, inputs)  # (axes, groups, prompt)
    output = model(
        input_ids=ids,
        attention_mask=causal(mask),
        position_ids=_as_ids(positions),
        past_key_values=cache(model),
        use_cache=True,
        logits_to_keep=1,
        **extra,
    )
    logits = output.logits[:, -1:, :].expand(-1, size, -1)  # (groups, size, vocabulary)
    start = after(positions)  # (groups, 1)
    ends = torch.tensor(eos, device=device)
    finished = torch.zeros(prompts, size, dtype=torch.bool, device=device)  # (groups, size)
    own = torch.eye(size, dtype=torch.bool, device=device).expand(prompts, size, size)
    seen = mask.bool()[:, None, :].expand(-1, size, -1)  # (groups, size, prompt + size * tokens so far)
    tokens: list[Tensor] = []  # each (groups, size)
    for index in range(max_new_tokens):
        allowed = None if answers is None else answers.allowed(logits.shape[-1])
        drawn = _draw(logits, temperature, noise, allowed).masked_fill(finished, pad)
        if answers is not None:
            answers.write(drawn.view(-1))
        tokens.append(drawn)
        finished = finished | torch.isin(drawn, ends)
        if bool(finished.all()) or index == max_new_tokens - 1:
            break
        seen = torch.cat([seen, own], dim=2)
        output = model(
            input_ids=drawn,
            attention_mask=seen[:, None],
            position_ids=_as_ids((start + index).expand(len(positions), -1, size)),
            past_key_values=output.past_key_values,
            use_cache=True,
        )
        logits = output.logits
    return torch.stack(tokens, dim=2).view(prompts * size, -1)


def _draw(
    logits: Tensor,
    temperature: float,
    noise: Callable[[torch.Size], Tensor] | None,
    allowed: Tensor | None,
) -> Tensor:
    """The next tokens (groups, size), from logits (groups, size, vocabulary); ``allowed`` (groups * size, vocabulary)
    are those that may come."""
    scores = logits.float() / temperature
    if allowed is not None:
        scores = scores.masked_fill(~allowed.view(scores.shape).to(scores.device), -torch.inf)
    chances = scores.softmax(-1).view(-1, scores.shape[-1])  # (groups * size, vocabulary)
    if noise is None:
        return torch.multinomial(chances, 1).view(logits.shape[:2])
    # The same distribution: the smallest of exponential times with these rates.
    return (chances / noise(chances.shape)).argmax(-1).view(logits.shape[:2])


def score(
    model: Any,
    inputs: dict[str, Tensor],
    completions: Tensor,
    completion_mask: Tensor,
    group: Tensor,
    temperature: float,
    allowed: Callable[[Tensor, Tensor, int], Tensor] | None = None,
) -> tuple[Tensor, Tensor]:
    """Log-probabilities and entropies (batch, tokens) of completions (batch, tokens).

    ``inputs`` are the model's inputs for the prompts, padded on the left; ``group`` (batch,) says which prompt each
    completion follows. Both results are 0 where a completion is padding. ``allowed`` gives, for the numbers of some
    completions, their tokens and the size of the vocabulary, which tokens might have come at each place, (some, tokens,
    vocabulary): the probabilities are then those of the model over these. Groups of similar length go through the
    model together: padding costs as much as tokens.
    """
    order = inputs["attention_mask"].sum(dim=1).argsort(stable=True)  # (groups,)
    rows: list[Tensor] = []
    logprobs, entropies = [], []
    for chunk in order.split(CHUNK):
        number = torch.full((len(order),), -1, device=group.device).index_copy(
            0, chunk, torch.arange(len(chunk), device=group.device)
        )  # (groups,): the place in the chunk, or -1
        members = (number[group] >= 0).nonzero().squeeze(1)
        last = not rows and chunk[-1] == order[-1]  # something has to go through the model, for the loss's gradient
        if not bool(completion_mask[members].any()) and not last:
            continue  # groups that are left out of the update
        some = taken(inputs, chunk.tolist())
        length = int(some["attention_mask"].sum(dim=1).max())
        width = max(1, int(completion_mask[members].sum(dim=1).max()))
        some |= {name: some[name][:, -length:] for name in ("input_ids", "attention_mask")}
        mask, tokens = completion_mask[members, :width].bool(), completions[members, :width]
        possible = None if allowed is None else partial(allowed, members, tokens)
        found = _score_packed(model, some, tokens, mask, number[group[members]], temperature, possible)
        padding = (0, completions.shape[1] - width)
        rows.append(members)
        logprobs.append(torch.nn.functional.pad(found[0], padding))
        entropies.append(torch.nn.functional.pad(found[1], padding))
    where, nothing = torch.cat(rows), torch.zeros(completions.shape, device=completions.device)
    return nothing.index_copy(0, where, torch.cat(logprobs)), nothing.index_copy(0, where, torch.cat(entropies))


def _score_packed(
    model: Any,
    inputs: dict[str, Tensor],
    completions: Tensor,
    completion_mask: Tensor,
    group: Tensor,
    temperature: float,
    possible: Callable[[int], Tensor] | None,
) -> tuple[Tensor, Tensor]:
    """``score`` of a few groups in one pass, each laid out as its prompt and then its completions in a row."""
    extra = dict(inputs)
    prompts, prompt_mask = extra.pop("input_ids"), extra.pop("attention_mask")  # (groups, prompt)
    number, width = prompts.shape[0], completions.shape[1]
    slot = slots(group, number)  # (batch,)
    size = int(slot.max()) + 1
    beside = completions.new_zeros(number, size, width)  # (groups, size, tokens)
    beside[group, slot] = completions
    before = prompt_positions(model, inputs)  # (axes, groups, prompt)
    steps = torch.arange(width, device=before.device).repeat(size)[None]  # (1, size * tokens)
    behind = (after(before) + steps).expand(len(before), -1, -1)  # (axes, groups, size * tokens)
    head = getattr(model, "module", model).get_output_embeddings()  # of a model that DDP holds, too
    vocabulary = head.weight.shape[0]
    large = number * size * width * vocabulary > MOST_LOGITS
    output = model(
        input_ids=torch.cat([prompts, beside.view(number, size * width)], dim=1),  # (groups, packed)
        attention_mask=_packed_attention(prompt_mask, size, width),
        position_ids=_as_ids(torch.cat([before, behind], dim=2)),  # (axes, groups, packed)
        logits_to_keep=1 if large else size * width + 1,
        output_hidden_states=large,
        use_cache=False,
        **extra,
    )
    features = output.hidden_states[-1][:, -size * width - 1 :] if large else output.logits
    # The first token of every completion is predicted by the prompt's last position, the others by their predecessor.
    first = features[:, :1].expand(-1, size, -1)[:, :, None]  # (groups, size, 1, features)
    rest = features[:, 1:].view(number, size, width, -1)[:, :, :-1]  # (groups, size, tokens - 1, features)
    features = torch.cat([first, rest], dim=2)[group, slot]  # (batch, tokens, features)
    impossible = None if possible is None else ~possible(vocabulary)  # (batch, tokens, vocabulary)
    if large:
        masks = [None] * len(completions) if impossible is None else impossible
        each = [
            checkpoint(_chosen, *one, temperature, head, use_reentrant=False)
            for one in zip(features, completions, masks, strict=True)
        ]
        chosen, entropy = (torch.stack(found) for found in zip(*each, strict=True))
    else:
        chosen, entropy = _chosen(features, completions, impossible, temperature)
    return chosen.masked_fill(~completion_mask, 0.0), entropy.masked_fill(~completion_mask, 0.0)


def _chosen(
    features: Tensor, tokens: Tensor, impossible: Tensor | None, temperature: float, head: Any = None
) -> tuple[Tensor, Tensor]:
    """Log-probabilities and entropies (..., tokens) of tokens (..., tokens), from logits (..., tokens, vocabulary).

    Or from features of which ``head`` makes logits. ``impossible`` tokens (..., tokens, vocabulary) have no chance.
    """
    logits = (features if head is None else head(features)).float() / temperature
    if impossible is not None:
        logits = logits.masked_fill(impossible, -torch.inf)
    logprobs = logits.log_softmax(-1)
    chosen = logprobs.gather(-1, tokens[..., None]).squeeze(-1)
    with torch.no_grad():
        finite = logprobs if impossible is None else logprobs.masked_fill(impossible, 0.0)  # 0 log 0 is 0
        entropy = -(logprobs.exp() * finite).sum(-1)
    return chosen, entropy


def slots(group: Tensor, number: int) -> Tensor:
    """The place (batch,) of each completion among those of its group, in batch order."""
    one_hot = torch.nn.functional.one_hot(group, number)  # (batch, groups)
    return one_hot.cumsum(dim=0).gather(1, group[:, None]).squeeze(1) - 1


def _packed_attention(prompt_mask: Tensor, size: int, width: int) -> Tensor:
    """The attention (groups, 1, packed, packed): a completion looks at its prompt and at its own past."""
    number, length = prompt_mask.shape
    total = length + size * width
    allowed = torch.zeros(number, total, total, dtype=torch.bool, device=prompt_mask.device)
    allowed[:, :length, :length] = causal(prompt_mask)[:, 0]
    allowed[:, length:, :length] = prompt_mask.bool()[:, None, :]
    triangle = torch.ones(width, width, dtype=torch.bool, device=prompt_mask.device).tril()  # (tokens, tokens)
    allowed[:, length:, length:] = torch.block_diag(*[triangle] * size)
    return allowed[:, None]


def _by_prompt(inputs: Mapping[str, Tensor]) -> dict[str, Sequence[Tensor]]:
    """The model's inputs for prompts, each cut into those of one prompt."""
    if GRID not in inputs:
        return {name: value.unbind() for name, value in inputs.items()}
    patches = inputs["pixel_values"].split(inputs[GRID].prod(dim=1).tolist())
    return {name: patches if name == "pixel_values" else value.unbind() for name, value in inputs.items()}


def taken(inputs: Mapping[str, Tensor], rows: Sequence[int]) -> dict[str, Tensor]:
    """The model's inputs for some of the prompts, in this order."""
    join = {name: torch.cat if name == "pixel_values" and GRID in inputs else torch.stack for name in inputs}
    return {name: join[name]([each[row] for row in rows]) for name, each in _by_prompt(inputs).items()}


def unique_prompts(inputs: dict[str, Tensor]) -> tuple[list[int], Tensor]:
    """Of the model's inputs for every completion's prompt: the first row of each prompt, and each row's group (batch,).

    Prompts with other pixels are other prompts.
    """
    each = _by_prompt(inputs)
    first: dict[bytes, int] = {}
    rows: list[int] = []
    group: list[int] = []
    for row in range(len(inputs["input_ids"])):
        parts = [value[row].detach().cpu().contiguous().view(-1).view(torch.uint8) for value in each.values()]
        key = b"".join(part.numpy().tobytes() for part in parts)
        if key not in first:
            first[key] = len(rows)
            rows.append(row)
        group.append(first[key])
    return rows, torch.tensor(group, device=inputs["input_ids"].device)
