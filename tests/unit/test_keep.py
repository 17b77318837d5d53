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
