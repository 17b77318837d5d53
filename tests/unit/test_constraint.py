"""Constrained decoding: what may be written is what is read, and its probabilities are the model's over that."""

from __future__ import annotations

import random
from itertools import zip_longest
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from llguidance import LLMatcher, LLTokenizer

from tests.planners import micro_config, trajectories, write_base
from tests.strategies import actions, patient, states, steps, texts, thousandths
from tracer.dataset import read
from tracer.examples import examples
from tracer.forecast import ForecastStep
from tracer.grammars.grammar import GRAMMARS, grammar
from tracer.planner.constraint import Constraint
from tracer.planner.tiny import build_processor
from tracer.planner.transformers import NO_CHANCE, TransformersPlanner, image_tokens
from tracer.tools.elements import ElementLocator
from tracer.training.stage1 import STAGE
from tracer.training.trl import groups, trainer
from tracer.trajectory import Element, State

SCREEN = State(
    goal='Send "Hello World" to Karla before 12/03.',
    elements=(
        Element(role="input", text="", box=(0.0, 0.0, 0.2, 0.1), value="karla"),
        Element(role="button", text="Reply", box=(0.4, 0.0, 0.6, 0.1)),
        Element(role="button", text="Reply", box=(0.4, 0.2, 0.6, 0.3)),
        Element(role="span", text="KARLA", box=(0.7, 0.0, 0.9, 0.1)),
    ),
)
BYTES = LLTokenizer("byte")


def takes(name: str, text: str, state: State, horizon: int = 5) -> bool:
    """Whether the constraint allows a text as a whole answer."""
    matcher = LLMatcher(BYTES, LLMatcher.grammar_from_lark(grammar(name).constraint(state, horizon)))
    assert not matcher.is_error(), matcher.get_error()
    tokens = BYTES.tokenize_str(text)
    return matcher.try_consume_tokens(tokens) == len(tokens) and matcher.is_accepting()


@patient
@given(st.data())
def test_what_a_recorder_writes_is_allowed(data: st.DataObject) -> None:
    state = data.draw(states())
    forecast = data.draw(st.lists(steps(state), min_size=1, max_size=5))
    assert takes("pointing", grammar("pointing").format(forecast, state), state)


@patient
@given(st.lists(st.tuples(actions(numbers=thousandths), texts), min_size=1, max_size=5))
def test_what_the_literal_grammars_write_is_allowed(pairs: list[tuple[Any, str]]) -> None:
    forecast = [ForecastStep(action=action, instruction=instruction) for action, instruction in pairs]
    for name in ("literal", "reasoned"):
        assert takes(name, grammar(name).format(forecast, SCREEN), SCREEN)


def sampled(name: str, state: State, seed: int, most: int = 400) -> str | None:
    """A random answer that the constraint allows, in ASCII; None for one that found no end."""
    draw = random.Random(seed)
    matcher = LLMatcher(BYTES, LLMatcher.grammar_from_lark(grammar(name).constraint(state, 3)))
    written = bytearray(b"</think>" if name == "reasoned" else b"")  # or the passage would hardly end
    assert matcher.consume_tokens(list(written))
    while len(written) < most:
        if matcher.is_accepting() and (draw.random() < 0.3 or matcher.is_stopped()):
            return written.decode()
        allowed = matcher.compute_logit_bias()
        # Quotes and the ends of objects are likelier, so that texts end.
        weights = {byte: 40 if chr(byte) in '"}' else 1 for byte in range(128) if allowed[byte]}
        (byte,) = draw.choices(list(weights), list(weights.values()))
        written.append(byte)
        assert matcher.consume_token(byte)
    return None


@pytest.mark.parametrize("name", GRAMMARS)
def test_what_is_allowed_is_read_and_its_first_step_can_be_carried_out(name: str) -> None:
    ended = 0
    for seed in range(200):
        text = sampled(name, SCREEN, seed)
        if text is None:
            continue
        ended += 1
        reading = grammar(name, "whole").read(text, SCREEN, 3)
        assert reading.forecast, (text, reading.error)
        assert ElementLocator().ground(SCREEN, reading.forecast[0]) is not None or name != "pointing", text
    assert ended > 100


@pytest.mark.parametrize(
    ("first", "allowed"),
    [
        ("click 1", True),
        ("click 4", False),
        ('click 1st button "Reply"', True),
        ('click button "Reply"', False),  # there are two: one has to be meant
        ('click button "Send"', False),
        ("click span upper $2", True),
        ("click span $2", False),
        ("click span @3", True),
        ('click "click at (512, 80)"', True),
        ("type @0", True),
        ("type @1 ", False),
        ("type $4", False),
        ('type "anything"', True),
        ("scroll up", True),
        ("scroll in", False),
        ("drag", False),
        ("triple_click", False),
        ("wait 2.5", True),
        ("wait", True),
    ],
)
def test_the_first_step_points_at_the_present_screen(first: str, allowed: bool) -> None:
    assert takes("pointing", first, SCREEN) == allowed
    assert takes("pointing", f'{first}\nclick button "Send"', SCREEN) == allowed
    assert not takes("pointing", f"{first}\nclick 9", SCREEN)
    assert not takes("pointing", f"{first}\nwait", SCREEN, horizon=1)


def test_a_screen_without_elements_or_spans() -> None:
    nothing = State(goal="")
    assert takes("pointing", 'type "a"', nothing) and takes("pointing", "scroll up", nothing)
    assert not takes("pointing", "click 0", nothing) and not takes("pointing", "type $1", nothing)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("constrained")
    shards = trajectories(folder)
    return write_base(folder / "base", shards, image=True, steps=0), shards


def test_an_untaught_planner_parses_only_where_it_is_constrained(base: tuple[Path, Path]) -> None:
    shown = [example.state for example in examples(read(base[1]), 2)]
    free, held = (TransformersPlanner.load(base[0], constrain=constrain) for constrain in ("off", "evaluation"))
    assert not any(plan.forecast for plan in free.forecast(shown, 2))
    for attempt in (0, 1):
        plans = held.forecast(shown, 2, attempt)
        for state, plan in zip(shown, plans, strict=True):
            # An untaught model seldom ends a text within 16 tokens: what it writes is at least the beginning of one.
            begun = LLMatcher(BYTES, LLMatcher.grammar_from_lark(grammar("pointing").constraint(state, 2)))
            assert begun.consume_tokens(BYTES.tokenize_str(plan.text)), plan.text
    assert held.forecast(shown[1:2], 2, 1) == held.forecast(shown, 2, 1)[1:2]


def test_a_token_outside_the_grammar_has_probability_zero(base: tuple[Path, Path]) -> None:
    planner = TransformersPlanner.load(base[0], constrain="always")
    (example, *_) = examples(read(base[1]), 2)
    completion = planner.tokenizer(["click 0"], return_tensors="pt")["input_ids"]
    vocabulary = len(planner.tokenizer)
    (allowed,) = planner.constraint.allowed([example.state], completion, vocabulary, planner.ends(2))
    inputs = dict(planner.encode([example.state]))
    inputs.pop("token_type_ids", None)

    def chance(place: int, token: int) -> float:
        tried, ones, group = completion.clone(), torch.ones_like(completion), torch.tensor([0])
        tried[0, place] = token
        found, _ = groups.score(planner.model, inputs, tried, ones, group, 1.0, lambda *_: allowed[None])
        return float(found[0, place].exp())

    with torch.no_grad():
        for place in range(completion.shape[1]):
            inside = allowed[place].nonzero().squeeze(1).tolist()
            assert sum(chance(place, token) for token in inside) == pytest.approx(1, abs=1e-4)
            outside = set(range(vocabulary)) - {*inside, *image_tokens(planner.model.config)}
            assert {chance(place, token) for token in sorted(outside)[:5]} == {0.0}


def test_the_reference_of_the_kl_term_gives_the_tokens_of_images_no_chance_either(tmp_path: Path) -> None:
    shards = trajectories(tmp_path)
    config = micro_config(write_base(tmp_path / "base", shards, image=True, steps=0), image=True, stage1={"kl": 0.1})
    planner = TransformersPlanner.load(tmp_path / "base", trainable=True)
    prompts = list(examples(read(shards, split="train"), 2))[:2]
    made = trainer.build(config, STAGE.objective(config), planner, prompts, tmp_path / "out")
    inputs = dict(planner.encode([prompts[0].state]))
    inputs.pop("token_type_ids", None)
    for model in (made.model, made.ref_model):
        logits = model(**inputs).logits
        assert (logits[..., image_tokens(planner.model.config)] == NO_CHANCE).all()
        assert logits.abs().min() < 100  # others have one


@pytest.mark.parametrize("image", [True, False])
def test_the_trainer_scores_what_it_sampled_with_the_sampler_s_probabilities(image: bool, tmp_path: Path) -> None:
    shards = trajectories(tmp_path)
    config = micro_config(write_base(tmp_path / "base", shards, image=image, steps=0), image=image)
    config = config.model_copy(update={"planner": config.planner.model_copy(update={"constrain": "always"})})
    planner = TransformersPlanner.load(tmp_path / "base", constrain="always", trainable=True)
    prompts = list(examples(read(shards, split="train"), 2))[:2]
    made = trainer.build(config, STAGE.objective(config), planner, prompts, tmp_path / "out")
    drawn: list[torch.Tensor] = []
    plain = groups._draw

    def draw(logits: torch.Tensor, temperature: float, noise: Any, allowed: Any) -> torch.Tensor:
        tokens = plain(logits, temperature, noise, allowed)
        masked = (logits.float() / temperature).view(-1, logits.shape[-1]).masked_fill(~allowed, -torch.inf)
        drawn.append(masked.log_softmax(-1).gather(1, tokens.view(-1, 1)).squeeze(1))
        return tokens

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(groups, "_draw", draw)
        batch = next(iter(made.get_train_dataloader()))
        made.model.train()
        output = made._generate_and_score_completions(batch)
    order = torch.randperm(len(output["state"]))  # as TRL shuffles before the update
    output = {name: value[order] if torch.is_tensor(value) and value.ndim else value for name, value in output.items()}
    made._rows = output["state"].tolist()
    ids = torch.cat([output["prompt_ids"], output["completion_ids"]], dim=1)
    mask = torch.cat([output["prompt_mask"], output["completion_mask"]], dim=1)
    pixels = {"pixel_values": output["pixel_values"]} if image else {}
    scored, _, _ = made._get_per_token_logps_and_entropies(
        made.model, ids, mask, output["completion_ids"].shape[1], **pixels
    )
    ours = torch.stack(drawn, dim=1)[order][:, : scored.shape[1]]
    kept = output["completion_mask"].bool()
    torch.testing.assert_close(scored[kept], ours[kept], atol=1e-5, rtol=0)
    assert torch.isfinite(scored).all()
    # Every completion is the beginning of a forecast of the state that it answers.
    texts = planner.tokenizer.batch_decode(output["completion_ids"], skip_special_tokens=True)
    for text, row in zip(texts, made._rows, strict=True):
        begun = LLMatcher(BYTES, LLMatcher.grammar_from_lark(grammar("pointing").constraint(prompts[row].state, 2)))
        assert begun.consume_tokens(BYTES.tokenize_str(text)), text


def test_a_token_that_may_not_come_is_an_error_in_scoring() -> None:
    tokenizer = build_processor(["click button"], 340).tokenizer
    constraint = Constraint(tokenizer, grammar("pointing"), 2)
    with pytest.raises(ValueError, match="does not allow token"):
        constraint.allowed([SCREEN], tokenizer(["zzz"], return_tensors="pt")["input_ids"], len(tokenizer), [])


def test_an_answer_ends_at_any_of_its_end_tokens_and_padding_follows() -> None:
    tokenizer = build_processor(["click button"], 340).tokenizer
    shorter, longer = (
        tokenizer(f"{text}\n", add_special_tokens=False)["input_ids"] for text in ("click 0", 'type "a longer text"')
    )
    ends = [tokenizer.eos_token_id, tokenizer("\n", add_special_tokens=False)["input_ids"][0]]  # a single step is read
    answers = Constraint(tokenizer, grammar("pointing"), 5).answers([SCREEN, SCREEN], ends)
    for column in zip_longest(shorter, longer, fillvalue=tokenizer.pad_token_id):
        answers.write(torch.tensor(column))
    assert answers.allowed(len(tokenizer)).all()
