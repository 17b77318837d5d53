"""``stage2.keep``: how much of the stage-1 reward stays in stage 2."""

from __future__ import annotations

import pytest

from tests.forecasts import sample
from tracer.config import load
from tracer.examples import examples
from tracer.grammars.grammar import grammar
from tracer.reward import trajectory_reward
from tracer.training import stage2


@pytest.mark.parametrize("keep", [0.0, 0.25])
def test_stage_2_adds_a_share_of_the_stage_1_reward(keep: float) -> None:
    config = load("micro", [f"stage2.keep={keep}"])
    objective = stage2.STAGE.objective(config)
    prompt = next(examples(sample(), config.planner.horizon))
    answer = grammar("pointing").format(prompt.reference, prompt.state)
    forecast = grammar("pointing").read(answer, prompt.state, config.planner.horizon).forecast
    whole = trajectory_reward(forecast, prompt.reference, config.reward).total
    assert objective.score(prompt, answer).total == pytest.approx(1 + keep * whole) and whole > 0
    for text in (answer, "klick 4"):
        assert tuple(objective.score(prompt, text).parts) == objective.parts
    assert objective.score(prompt, "klick 4").total == 0
    assert objective.parts == (("grounded", "kept") if keep else ("grounded",))


@pytest.mark.parametrize(
    ("overrides", "reads"),
    [([], 1), (["stage2.keep=0.25"], 5), (["planner.parse=whole"], 5), (["planner.horizon=1"], 1)],
)
def test_no_more_is_sampled_to_select_states_than_the_reward_reads(overrides: list[str], reads: int) -> None:
    config = load("micro", overrides)
    objective = stage2.STAGE.objective(config)
    assert objective.reads == reads
    prompt = next(examples(sample(), config.planner.horizon))
    answer = grammar("pointing").format(prompt.reference, prompt.state)
    for text in (answer, f"{answer}\nklick 4", "klick 4", f"klick 4\n{answer}"):
        read = "\n".join(text.split("\n")[:reads])
        assert objective.score(prompt, read).parts == objective.score(prompt, text).parts
