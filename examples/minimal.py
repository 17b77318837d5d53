"""TraceR1 on one page: forecasts are sampled, parsed, rewarded and compared with each other, and the better ones made
more likely. In plain PyTorch, on the tiny base planner and the sample data (`make data` fetches both):

    python examples/minimal.py --steps 5              # stage 1: the whole forecast is rewarded
    python examples/minimal.py --steps 5 --stage 2    # stage 2: what a frozen tool agent makes of its first step

The pipeline computes the same update (tests/integration/test_minimal.py compares the two). Around it, it also selects
the states worth training on, shares a prompt's computation among its completions, warms the learning rate up, can hold
the planner to where it started with a KL term, and survives being killed.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from tracer import tools
from tracer.examples import Example, examples
from tracer.forecast import Forecast
from tracer.grammars.grammar import grammar
from tracer.planner.transformers import TransformersPlanner
from tracer.reward import RewardConfig, advantages, grounded_reward, trajectory_reward
from tracer.sources import jsonl
from tracer.tools.settings import GroundingConfig
from tracer.trajectory import State, Trajectory

PROMPTS = 4  # states per step
GROUP = 8  # G, forecasts per state
LEARNING_RATE = 6e-5
TEMPERATURE = 1.0
CLIP = 0.2  # epsilon
MAX_NORM = 1.0  # of the gradient

Completions = Sequence[Sequence[int]]  # token ids, each up to and with its end token


@torch.no_grad()
def sample(planner: TransformersPlanner, state: State, size: int, temperature: float = TEMPERATURE) -> Completions:
    """1. Sample a group of forecasts, token by token."""
    inputs = encode(planner, state, size)
    end = planner.tokenizer.eos_token_id
    tokens: list[Tensor] = []  # each (size, 1)
    output = planner.model(**inputs, use_cache=True)
    for _ in range(planner.settings.max_new_tokens):
        logits = output.logits[:, -1].float() / temperature  # (size, vocabulary)
        tokens.append(torch.multinomial(logits.softmax(-1), 1))
        if bool((torch.cat(tokens, dim=1) == end).any(dim=1).all()):
            break
        output = planner.model(input_ids=tokens[-1], past_key_values=output.past_key_values, use_cache=True)
    rows = torch.cat(tokens, dim=1).tolist()
    return [row[: row.index(end) + 1] if end in row else row for row in rows]


def parse(planner: TransformersPlanner, state: State, text: str) -> Forecast | None:
    """2. Parse a forecast: the steps before the first line that does not parse; None if that is the first line."""
    return grammar(planner.settings.grammar).read(text, state, planner.settings.horizon).forecast


def trajectory(example: Example, forecast: Forecast | None) -> float:
    """3. Stage 1, trajectory RL: compare a forecast with what was really done from its state on.

    R = sum over t of gamma^(t-1) * (lambda_align * sim(a_t, a*_t) - lambda_rep * rep(a_1:t))
    """
    return trajectory_reward(forecast, example.reference, RewardConfig()).total


def grounded(example: Example, forecast: Forecast | None) -> float:
    """3. Stage 2, grounded RL: let a frozen tool agent act on a forecast's first step.

    R = 1 if it does what was really done in the state, else 0
    """
    config = GroundingConfig()
    action = tools.load(config).ground(example.state, forecast[0]) if forecast else None
    return grounded_reward(action, example.reference[0], config.radius)


REWARDS = {1: trajectory, 2: grounded}


def log_probabilities(
    planner: TransformersPlanner, state: State, completions: Completions, temperature: float = TEMPERATURE
) -> tuple[Tensor, Tensor]:
    """log pi(token | state, tokens before it), and which tokens are no padding: both (size, tokens)."""
    inputs = encode(planner, state, len(completions))
    ids = pad_sequence([torch.tensor(each) for each in completions], batch_first=True, padding_value=-1)
    mask = ids != -1
    ids = ids.clamp(min=0)  # what pads comes last, so that no token looks at it
    prompt = inputs["input_ids"]
    inputs |= {"input_ids": torch.cat([prompt, ids], dim=1)}
    logits = planner.model(**inputs).logits[:, prompt.shape[1] - 1 : -1].float() / temperature
    return logits.log_softmax(-1).gather(-1, ids[..., None]).squeeze(-1), mask


def loss_of(new: Tensor, old: Tensor, mask: Tensor, advantage: Tensor) -> Tensor:
    """5. GRPO's loss of a group: it falls as forecasts of positive advantage become more likely, up to a clip.

    L = -mean over i of mean over t of min(r_it A_i, clip(r_it, 1 - epsilon, 1 + epsilon) A_i), r_it = pi / pi_old;
    ``new`` and ``old`` are log-probabilities (size, tokens), ``advantage`` is (size,).
    """
    ratio = (new - old).exp()
    gain = torch.min(ratio * advantage[:, None], ratio.clamp(1 - CLIP, 1 + CLIP) * advantage[:, None])
    return -((gain * mask).sum(dim=1) / mask.sum(dim=1)).mean()


def update(
    planner: TransformersPlanner,
    optimizer: torch.optim.Optimizer,
    batch: Sequence[tuple[Example, Completions]],
    stage: int = 1,
    temperature: float = TEMPERATURE,
) -> dict[str, float]:
    """One step on sampled groups; the mean reward, the loss, and the gradient's norm before it is clipped."""
    rewards, losses = [], []
    optimizer.zero_grad()
    for example, completions in batch:
        texts = planner.tokenizer.batch_decode([list(each) for each in completions], skip_special_tokens=True)
        rewards.append([REWARDS[stage](example, parse(planner, example.state, text)) for text in texts])
        # 4. A forecast's advantage: how far its reward is from its group's mean, in standard deviations.
        advantage = torch.tensor(advantages(rewards[-1]))
        new, mask = log_probabilities(planner, example.state, completions, temperature)
        # With one update per batch the forecasts come from the very weights that are updated: pi_old is pi.
        loss = loss_of(new, new.detach(), mask, advantage) / len(batch)
        loss.backward()
        losses.append(loss.item())
    norm = torch.nn.utils.clip_grad_norm_(planner.model.parameters(), MAX_NORM)
    optimizer.step()  # 6. Step.
    return {
        "reward": sum(map(sum, rewards)) / sum(map(len, rewards)),
        "loss": sum(losses),
        "grad_norm": norm.item(),
    }


def encode(planner: TransformersPlanner, state: State, size: int) -> dict[str, Tensor]:
    """The model's inputs for ``size`` copies of a state's prompt: its text, and the screenshot if the planner sees."""
    names = ("input_ids", "pixel_values")  # the copies are equally long: nothing has to be masked
    return {name: value for name, value in planner.encode([state] * size).items() if name in names}


def main() -> None:
    parser = argparse.ArgumentParser(description="TraceR1 on one page, in plain PyTorch")
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--stage", type=int, choices=sorted(REWARDS), default=1)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    data = Path(__file__).parents[1] / "data"
    torch.manual_seed(arguments.seed)
    planner = TransformersPlanner.load(data / "base", dtype="float32", device="cpu")
    episodes = [item for item in jsonl.read(data / "raw") if isinstance(item, Trajectory) and item.split == "train"]
    states = list(examples(episodes, planner.settings.horizon))
    drawn = random.Random(arguments.seed)
    optimizer = torch.optim.AdamW(planner.model.parameters(), lr=LEARNING_RATE, weight_decay=0.0)
    for step in range(1, arguments.steps + 1):
        batch = [(state, sample(planner, state.state, GROUP)) for state in drawn.sample(states, PROMPTS)]
        result = update(planner, optimizer, batch, arguments.stage)
        print(f"step {step}: " + ", ".join(f"{name} {value:.6f}" for name, value in result.items()), flush=True)


if __name__ == "__main__":
    main()
