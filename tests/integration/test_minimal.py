"""examples/minimal.py against the real trainer: the same update, from the same weights and the same forecasts."""

from __future__ import annotations

import ast
import importlib.util
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.planners import micro_config, trajectories, write_base
from tracer.dataset import read
from tracer.examples import examples
from tracer.planner.transformers import TransformersPlanner
from tracer.stages import STAGES
from tracer.training.stage import Stage
from tracer.training.trl.shared_prompt import SharedPromptTrainer
from tracer.training.trl.trainer import build

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "examples" / "minimal.py"
GROUPS, SIZE, RATE, TEMPERATURE = 2, 4, 1e-3, 1.3


@pytest.fixture(scope="module")
def minimal() -> Any:
    spec = importlib.util.spec_from_file_location("minimal", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trajectories(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory, shards: Path) -> Path:
    # Taught too little to be right every time: groups have to disagree.
    return write_base(tmp_path_factory.mktemp("base") / "base", shards, image=True, steps=36)


class Recorded(SharedPromptTrainer):
    """The real trainer, which keeps the batches that it was trained on."""

    def _generate_and_score_completions(self, inputs: Any) -> dict[str, Any]:
        made = super()._generate_and_score_completions(inputs)
        self.batches = [*getattr(self, "batches", []), ([each["index"] for each in inputs], dict(made))]
        return made


@pytest.fixture(scope="module", params=STAGES, ids=lambda stage: stage.name)
def trained(request: pytest.FixtureRequest, base: Path, shards: Path, tmp_path_factory: Any) -> tuple[Stage, Recorded]:
    options = {"groups": GROUPS, "group_size": SIZE, "learning_rate": RATE, "warmup": 0, "temperature": TEMPERATURE}
    config = micro_config(base, image=True, stage1=options, stage2=options)
    planner = TransformersPlanner.load(base, dtype="float32", trainable=True)
    states = list(examples(read(shards, split="train"), config.planner.horizon))
    stage: Stage = request.param
    torch.manual_seed(3)
    out = tmp_path_factory.mktemp(stage.name)
    trainer = build(config, stage.objective(config), planner, states, out, kind=Recorded)
    trainer.train()
    return stage, trainer


def completions(made: dict[str, Any]) -> list[list[int]]:
    rows = zip(made["completion_ids"], made["completion_mask"], strict=True)
    return [ids[mask.bool()].tolist() for ids, mask in rows]


def test_the_first_updates_are_the_trainers(
    minimal: Any, trained: tuple[Stage, Recorded], base: Path, shards: Path
) -> None:
    stage, trainer = trained
    planner = TransformersPlanner.load(base, dtype="float32")
    states = list(examples(read(shards, split="train"), planner.settings.horizon))
    optimizer = torch.optim.AdamW(planner.model.parameters(), lr=RATE, weight_decay=0.0)
    history = [entry for entry in trainer.state.log_history if "grad_norm" in entry]
    assert len(history) == 2 and any(entry["grad_norm"] > 0.1 for entry in history)
    for (index, made), expected in zip(trainer.batches, history, strict=True):
        texts = completions(made)
        batch = [(states[index[row]], texts[row : row + SIZE]) for row in range(0, GROUPS * SIZE, SIZE)]
        found = minimal.update(planner, optimizer, batch, STAGES.index(stage) + 1, TEMPERATURE)
        for name, value in found.items():
            assert value == pytest.approx(expected[name], abs=1e-5), name


def test_the_loss_is_the_trainers_off_its_policy_too(minimal: Any, trained: tuple[Stage, Recorded]) -> None:
    """In the first update the ratio is 1 and nothing is clipped; here it is not."""
    trainer = trained[1]
    made = trainer.batches[0][1]
    mask = made["completion_mask"].bool()
    ids, seen = (torch.cat([made[f"prompt_{name}"], made[f"completion_{name}"]], dim=1) for name in ("ids", "mask"))
    with torch.no_grad():
        new = trainer._get_per_token_logps_and_entropies(
            trainer.model, ids, seen, mask.shape[1], pixel_values=made["pixel_values"]
        )[0]
        old = new - 0.5 * torch.randn(new.shape, generator=torch.Generator().manual_seed(0))
        theirs = trainer._compute_loss(trainer.model, {**made, "old_per_token_logps": old})
    groups = zip(*(part.split(SIZE) for part in (new, old, mask, made["advantages"])), strict=True)
    ours = torch.stack([minimal.loss_of(*group) for group in groups]).mean()
    assert ours.item() == pytest.approx(theirs.item(), abs=1e-5) and abs(ours.item()) > 1e-3


def test_what_is_sampled_has_the_planners_distribution(minimal: Any, base: Path, shards: Path) -> None:
    """At a tiny temperature sampling is greedy."""
    planner = TransformersPlanner.load(base, dtype="float32")
    state = next(examples(read(shards, split="train"), planner.settings.horizon)).state
    rows = minimal.sample(planner, state, 3, temperature=1e-6)
    assert planner.tokenizer.batch_decode(rows, skip_special_tokens=True) == planner.answer([state]) * 3


def test_it_is_one_page_that_needs_no_trainer() -> None:
    source = SCRIPT.read_text(encoding="utf-8")
    assert len(source.splitlines()) <= 200
    nodes = list(ast.walk(ast.parse(source)))
    imported = {node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)}
    imported |= {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    assert not any(name.startswith(("tracer.training", "trl", "transformers")) for name in imported)


@pytest.mark.parametrize("stage", [pytest.param("1", marks=pytest.mark.slow), "2"])
def test_it_runs_as_a_script(stage: str) -> None:
    command = [sys.executable, str(SCRIPT), "--steps", "1", "--stage", stage]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.startswith("step 1: reward ") and "grad_norm" in done.stdout
