"""Training that really cannot go on: a disk that is full, weights that are lost; and what is left of it."""

from __future__ import annotations

import json
import os
import resource
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from transformers import TrainerControl, TrainerState

from tests.episodes import sample, write_raw
from tests.planners import micro_config, trajectories, write_base
from tracer import cli
from tracer.config import Config
from tracer.dataset import read
from tracer.examples import examples
from tracer.lineage.digest import finished
from tracer.planner.transformers import TransformersPlanner
from tracer.training import bootstrap, stage1
from tracer.training.budget import SPENT, Budget
from tracer.training.checkpoints import WHOLE, last_checkpoint
from tracer.training.errors import CollapsedReward, DiskFull, Evicted, NotANumber
from tracer.training.eviction import Eviction
from tracer.training.heartbeat import Heartbeat, read_heartbeat
from tracer.training.settings import BudgetConfig
from tracer.training.supervised import Said


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trajectories(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory, shards: Path) -> Path:
    return write_base(tmp_path_factory.mktemp("llama") / "base", shards, image=False, steps=36)


@contextmanager
def no_file_over(size: int) -> Iterator[None]:
    """Every write beyond so many bytes fails, as with a quota."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


@pytest.fixture
def unheard() -> Iterator[None]:
    """Nobody listens for SIGTERM and Ctrl-C: another test may have left handlers, and a stage gives way."""
    alone = {signal.SIGTERM: signal.SIG_DFL, signal.SIGINT: signal.default_int_handler}
    before = {number: signal.signal(number, handler) for number, handler in alone.items()}
    yield
    for number, handler in before.items():
        signal.signal(number, handler or signal.SIG_DFL)


def config_of(base: Path, seed: int, **stage: object) -> Config:
    return micro_config(base, image=False, stage1=stage).model_copy(update={"seed": seed})


def test_a_spent_budget_ends_a_stage_with_the_weights_of_as_many_steps(
    base: Path, shards: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = base.parent
    ended = config_of(base, seed=3, steps=4).model_copy(
        update={"build": str(folder / "ended"), "budget": BudgetConfig(cost=1e-9, price_per_hour=2.0)}
    )
    metrics = stage1.STAGE.train(ended, shards, base, ended.out("stage1"))["metrics"]
    assert metrics["ended"].startswith("the budget is spent after step 1 of 4: 0.00 of 1e-09, for 0.00 hours")
    assert metrics["ended"] in caplog.text
    asked = config_of(base, seed=3, steps=1).model_copy(update={"build": str(folder / "asked")})
    assert "ended" not in stage1.STAGE.train(asked, shards, base, asked.out("stage1"))["metrics"]
    one, two = (config.out("stage1") / "model/model.safetensors" for config in (ended, asked))
    assert one.read_bytes() == two.read_bytes()


def test_the_budget_counts_over_resumptions(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    (tmp_path / SPENT).write_text('{"seconds": 3500.0}')
    with pytest.raises(ValueError, match="price_per_hour"):
        BudgetConfig(cost=3.0)
    for limits, over in (({"hours": 1.0}, False), ({"hours": 0.9}, True), ({"cost": 1.0, "price_per_hour": 2.0}, True)):
        budget = Budget("stage1", BudgetConfig(**limits), 40, tmp_path)
        control = TrainerControl()
        budget.on_step_end(None, TrainerState(global_step=17), control)
        assert control.should_training_stop is over and bool(budget.ended) is over
        last = Budget("stage1", BudgetConfig(**limits), 17, tmp_path)
        last.on_step_end(None, TrainerState(global_step=17), TrainerControl())
        assert not last.ended, "it was the last step anyway"


def test_a_full_disk_leaves_nothing_half_written_and_training_goes_on(base: Path, shards: Path) -> None:
    full, free = (config_of(base, seed=1).model_copy(update={"build": str(base.parent / name)}) for name in ("a", "b"))
    with no_file_over(1 << 16), pytest.raises(DiskFull, match=r"Free space there.*continues from it"):
        stage1.STAGE.train(full, shards, base, full.out("stage1"))
    out = full.out("stage1")
    assert finished(out) is None
    begun = list((out / "checkpoints").glob("checkpoint-*"))
    assert begun and not any((path / WHOLE).exists() for path in begun)  # what was begun does not count
    assert last_checkpoint(out / "checkpoints") is None
    ours = stage1.STAGE.train(full, shards, base, out)
    theirs = stage1.STAGE.train(free, shards, base, free.out("stage1"))
    assert ours["output"] == theirs["output"]


def test_sigterm_leaves_a_checkpoint_from_which_training_goes_on_to_the_same_bytes(
    base: Path, shards: Path, monkeypatch: pytest.MonkeyPatch, unheard: None
) -> None:
    wanted, left = (
        config_of(base, seed=6, steps=3, checkpoint_every=9).model_copy(update={"build": str(base.parent / name)})
        for name in ("wanted", "left")
    )
    out, beat = wanted.out("stage1"), Heartbeat.beat

    def signalled(self: Heartbeat, doing: str, step: int | None = None) -> None:
        beat(self, doing, step)
        if (doing, step) == ("rollouts", 1):
            os.kill(os.getpid(), signal.SIGTERM)

    with monkeypatch.context() as patched, pytest.raises(Evicted, match="the same command continues"):
        patched.setattr(Heartbeat, "beat", signalled)
        stage1.STAGE.train(wanted, shards, base, out)
    assert finished(out) is None and (last_checkpoint(out / "checkpoints") or "").endswith("checkpoint-2")
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    ours = stage1.STAGE.train(wanted, shards, base, out)
    assert ours["output"] == stage1.STAGE.train(left, shards, base, left.out("stage1"))["output"]


def test_sigterm_in_a_step_that_takes_too_long_ends_it_all_the_same(
    monkeypatch: pytest.MonkeyPatch, unheard: None
) -> None:
    child = os.fork()
    if not child:
        with Eviction(seconds=0.1).watched():
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(60)
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 75

    def evicted() -> None:
        raise Evicted("wanted back")

    monkeypatch.setattr(cli, "application", evicted)
    assert cli.main([]) == 75


def test_ctrl_c_leaves_a_checkpoint_of_a_base_that_is_being_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, unheard: None
) -> None:
    episodes = write_raw(tmp_path / "raw", sample())
    teaching = {"steps": 3, "batch": 4, "hidden": 32, "layers": 1, "checkpoint_every": 9, "vocabulary": 340}
    config = micro_config(tmp_path / "none", image=True, bootstrap=teaching)
    out = tmp_path / "base"

    def pressed(self: Said, args: object, state: TrainerState, control: object, **_: object) -> None:
        if state.global_step == 1:
            os.kill(os.getpid(), signal.SIGINT)

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(Said, "on_step_begin", pressed)
        bootstrap.train(config, episodes, out)
    assert finished(out) is None and (last_checkpoint(out / "checkpoints") or "").endswith("checkpoint-2")
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    begun: list[int] = []
    monkeypatch.setattr(Said, "on_train_begin", lambda self, args, state, *_, **__: begun.append(state.global_step))
    monkeypatch.setattr(Said, "on_log", lambda *_, **__: None)
    ours = bootstrap.train(config, episodes, out)
    assert begun == [2] and ours["output"] == bootstrap.train(config, episodes, tmp_path / "calm")["output"]


def test_ctrl_c_pressed_again_does_not_wait(caplog: pytest.LogCaptureFixture, unheard: None) -> None:
    eviction = Eviction()
    with pytest.raises(KeyboardInterrupt), eviction.watched():
        os.kill(os.getpid(), signal.SIGINT)
        assert eviction.asked == signal.SIGINT and "a checkpoint follows this step" in caplog.text
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(60)
    control = TrainerControl()
    eviction.on_step_end(None, TrainerState(), control)
    assert control.should_training_stop and control.should_save
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_lost_weights_end_training(base: Path, shards: Path) -> None:
    config = config_of(base, seed=2, learning_rate=1e39, warmup=0, steps=6)
    with pytest.raises(NotANumber, match=r"Lower stage1\.learning_rate \(1e\+39\)"):
        stage1.STAGE.train(config, shards, base, config.out("stage1"))
    beat = read_heartbeat(config.out("stage1"))
    assert beat is not None and beat["step"] < 6


def test_a_ruined_planner_ends_training(base: Path, shards: Path) -> None:
    config = config_of(base, seed=2, learning_rate=1e3, warmup=0, steps=8, patience=2)
    with pytest.raises(CollapsedReward, match=r"no forecast has parsed for 2 steps.*stage1\.learning_rate \(1000\)"):
        stage1.STAGE.train(config, shards, base, config.out("stage1"))
    assert finished(config.out("stage1")) is None


def test_a_stage_ends_once_it_has_sampled_its_tokens(base: Path, shards: Path) -> None:
    config = config_of(base, seed=4, steps=6)
    whole = stage1.STAGE.train(config, shards, base, config.out("stage1"))["metrics"]
    few = config_of(base, seed=4, steps=6, tokens=int(whole["tokens"]) // 2)
    few = few.model_copy(update={"build": str(base.parent / "few")})
    found = stage1.STAGE.train(few, shards, base, few.out("stage1"))["metrics"]
    steps = len((few.out("stage1") / "metrics.jsonl").read_text().splitlines())
    assert whole["tokens"] / 2 <= found["tokens"] < whole["tokens"] and 1 <= steps < 6


def test_a_planner_of_one_step_ends_its_answers_with_the_line(base: Path, shards: Path) -> None:
    plain = config_of(base, seed=5)
    config = plain.model_copy(update={"planner": plain.planner.model_copy(update={"horizon": 1})})
    stage1.STAGE.train(config, shards, base, config.out("stage1"))
    lines = [line for path in (config.out("stage1") / "samples").glob("*.jsonl") for line in path.open()]
    answers = [json.loads(line)["answer"] for line in lines]
    assert answers and all("\n" not in answer.rstrip("\n") for answer in answers)
    planner = TransformersPlanner.load(config.out("stage1"))
    states = [example.state for example in examples(read(shards), 2)]
    one, two = planner.forecast(states, 1), planner.forecast(states, 2)
    assert [plan.forecast for plan in one] == [plan.forecast and plan.forecast[:1] for plan in two]
    assert sum(plan.tokens for plan in one) < sum(plan.tokens for plan in two)


def test_the_history_tells_what_is_watched(base: Path, shards: Path) -> None:
    config = config_of(base, seed=3)
    metrics = stage1.STAGE.train(config, shards, base, config.out("stage1"))["metrics"]
    out = config.out("stage1")
    history = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert all({"unparsable", "repeated", "reward_length", "dead_groups"} <= set(entry) for entry in history)
    assert all(list(entry) == sorted(entry) for entry in history)  # as one that went through a checkpoint
    assert metrics["warnings"] == len(json.loads((out / "warnings.json").read_text())) == 0
