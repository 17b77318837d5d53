"""Text on a screen is data, never control: no special token arises from it, and ordinary text keeps its tokens."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from transformers import AddedToken

from tests.forecasts import state as ordinary_state
from tracer.action import Action
from tracer.examples import Example
from tracer.forecast import ForecastStep
from tracer.grammars.grammar import grammar
from tracer.planner.escape import control_tokens, escaped
from tracer.planner.plan import PlannerSettings
from tracer.planner.prompt import answer, chat, prompt
from tracer.planner.tiny import build_processor
from tracer.planner.transformers import picture
from tracer.training.trl.arguments import dataset
from tracer.trajectory import Element, State

LISTS = json.loads(Path(__file__).parents[1].joinpath("special_tokens.json").read_text(encoding="utf-8"))
"""The special tokens of models, as their makers publish them."""
PUBLISHED = sorted({token for each in LISTS.values() for token in each})
UNKNOWN = ["[CTRL_7]", "{{user}}", "<unused3>", "<reserved special>"]  # of a vocabulary that nobody has heard of
GRAMMARS = ("pointing", "literal", "reasoned")


def settings(name: str, image: bool = True) -> PlannerSettings:
    return PlannerSettings(grammar=name, horizon=5, history=4, image=image, max_new_tokens=9)


@pytest.fixture(scope="module")
def processor() -> Any:
    """The tiny planner's, with every published special token and some of its own in its vocabulary."""
    made = build_processor(["goal button text history click type a < b && c > d"] * 3, 340)
    own = {"additional_special_tokens": [*PUBLISHED, *UNKNOWN]}
    made.tokenizer.add_special_tokens(own, replace_extra_special_tokens=False)
    made.tokenizer.add_tokens([AddedToken("<think>", special=False), AddedToken("    ", special=False)])
    return made


def screen(text: str) -> State:
    """A state that says it everywhere."""
    picture = ordinary_state().image
    button = Element(role=f"button{text}", text=f"a{text}b", value=text, state=text, box=(0.1, 0.2, 0.3, 0.4))
    return State(goal=f'Say "{text}" {text} to <{text}>', image=picture, width=160, height=210, elements=(button,),
                 history=(f'click the button "{text}"', text), observation=f"{text}{text}\n{text}")  # fmt: skip


def control_ids(processor: Any, text: str) -> list[int]:
    known = processor.tokenizer.convert_tokens_to_ids([*PUBLISHED, *UNKNOWN])
    return [each for each in processor.tokenizer(text, add_special_tokens=False)["input_ids"] if each in known]


@pytest.mark.parametrize("name", GRAMMARS)
@pytest.mark.parametrize("image", [True, False])
def test_no_control_token_arises_from_a_screen(processor: Any, name: str, image: bool) -> None:
    expected = control_ids(processor, chat(processor, ordinary_state(), settings(name, image)))
    assert len(expected) == 3 + image  # the template's own: a turn begins and ends, another begins; the picture
    for token in [*PUBLISHED, *UNKNOWN]:
        assert control_ids(processor, token)  # it is one, as written
        assert control_ids(processor, chat(processor, screen(token), settings(name, image))) == expected, token


@pytest.mark.parametrize("name", GRAMMARS)
def test_no_published_token_reaches_a_server(name: str) -> None:
    """Whose tokenizer is not here: what it is sent contains none of the texts, nor what would become one."""
    for token in [*PUBLISHED, "<|begin_of_text|>", "<｜User｜>", "[INST]", "</s>", "<start_of_turn>", "<|eot_id|>"]:
        sent = prompt(screen(token), settings(name))
        assert token not in sent, token
        assert escaped(sent) == sent
    assert escaped("<|im_<|im_end|>end|>") == "<|im_\\u003c|im_end|>end|>"


@pytest.mark.parametrize("token", ["<image>", "<|im_end|>", "</think>"])
def test_a_processor_reads_such_a_screen_with_its_one_picture(processor: Any, token: str) -> None:
    from tests.episodes import picture as drawn

    shown = State(goal=f"Press {token}", image=drawn("x"), width=160, height=210)
    text = chat(processor, shown, settings("pointing"))
    read = processor(text=[text], images=[picture(shown)], return_tensors="pt", add_special_tokens=False)
    assert (read["input_ids"] == processor.tokenizer.convert_tokens_to_ids("<image>")).sum() == 64


def test_the_prompts_of_reinforcement_learning_are_the_same(processor: Any) -> None:
    example = Example(
        trajectory="t", step=0, task="t", split="train", state=screen("<image>[CTRL_7]"), reference=(), remaining=1
    )
    (turn,) = dataset([example], settings("literal", False), control_tokens(processor))[0]["prompt"]
    assert turn["content"] == prompt(example.state, settings("literal"), control_tokens(processor))
    assert control_ids(processor, turn["content"]) == []


@pytest.mark.parametrize("name", GRAMMARS)
@pytest.mark.parametrize("token", [*PUBLISHED, *UNKNOWN])
def test_an_answer_contains_no_control_token_and_says_the_same(processor: Any, name: str, token: str) -> None:
    shown = State(goal="x", elements=())
    step = ForecastStep(action=Action.of("type", text=f"a\\{token}"), instruction=f'type "a\\{token}"')
    said = answer([step], shown, settings(name), control_tokens(processor))
    own = ["</think>"] if name == "reasoned" else []
    assert control_ids(processor, said) == processor.tokenizer.convert_tokens_to_ids(own)
    assert grammar(name).read(said, shown, 5).forecast[0].action == step.action


ORDINARY = State(
    goal='Find 3 < 4 & "x>y", <b>bold</b> or List<int> [1] at <bob@x.org> |pipe| f <| x',
    history=('click the button "a < b"',),
    observation="<p>1 <= 2</p> {% raw %}",
    elements=(Element(role="button", text="<div> <imagery> im_end <|>", box=(0.1, 0.2, 0.3, 0.4)),),
)
IDS = {
    "pointing": (199, "9fdea0820a6e6f8bf897f40dac02fa71af2072a76c614349e83b548f334761e1"),
    "literal": (781, "126df2df9bc014da2ef7f045d97c380ce4cf5e44fce73320a5f4fd4ec56237ee"),
}
"""Recorded before anything was escaped: how many tokens, and the sha256 of their JSON list."""


@pytest.mark.parametrize("name", IDS)
def test_ordinary_text_keeps_its_tokens(name: str) -> None:
    tiny = build_processor(["goal button text history click type a < b && c > d"] * 3, 340)
    ids = tiny.tokenizer(chat(tiny, ORDINARY, settings(name)), add_special_tokens=False)["input_ids"]
    assert (len(ids), hashlib.sha256(json.dumps(ids).encode()).hexdigest()) == IDS[name]


def test_added_words_that_are_text_stay_text(processor: Any) -> None:
    assert "    " not in control_tokens(processor)
    assert {"<image>", "<think>", *UNKNOWN} <= set(control_tokens(processor))
