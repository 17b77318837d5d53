"""GTA (General Tool Agents): 229 queries with 14 tools, by the official metrics and by T3-Agent's.

``step``: the gold prefix is given and the next turn is predicted. ``end_to_end``: the agent runs alone. ``t3``: another
agent with its own tools, judged by a plain substring; its answer accuracy is not GTA's.
"""

from __future__ import annotations

import ast
import json
import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from tracer.planner.plan import Plan, Planner
from tracer.scoring.contract import Benchmark, Outcome, Part, PredictionRow, Row, Unparsable, Worker
from tracer.scoring.protocol import BenchmarkProtocol
from tracer.scoring.similarity import Similarity, load
from tracer.sources.calls import parse
from tracer.sources.source import Refused
from tracer.tools.tool_agent import ToolAgent
from tracer.trajectory import State

CATEGORIES: dict[str, tuple[str, ...]] = {
    "perception": ("OCR", "ImageDescription", "RegionAttributeDescription", "TextToBbox"),
    "operation": ("DrawBox", "AddText", "GoogleSearch"),
    "logic": ("Calculator", "Solver", "Plot", "MathOCR", "CountGivenObject"),
    "creativity": ("TextToImage", "ImageStylization"),
}
IMAGE_TOOLS = ("DrawBox", "AddText", "Plot", "TextToImage", "ImageStylization")
T3_TOOLS = {
    **dict.fromkeys(("OCR", "ImageDescription", "RegionAttributeDescription"), "visualizer"),
    **dict.fromkeys(("CountGivenObject", "MathOCR"), "visualizer"),
    "TextToBbox": "objectlocation",
    "GoogleSearch": "ask_search_agent",
    **dict.fromkeys(("Calculator", "Solver", "Plot", "DrawBox", "AddText"), "python"),
    "TextToImage": "image_generator",
    "ImageStylization": "image_edit",
}
"""What of T3-Agent's tools does the work of each of GTA's: our mapping, there is no published one."""
T3_NAMES = (
    "visualizer", "facedetection", "objectlocation", "inspect_file_as_text", "image_generator", "segmentation",
    "image_edit", "ask_search_agent",
)  # fmt: skip


COMPUTES = (ast.BinOp, ast.For, ast.Import, ast.ImportFrom, ast.Attribute)
"""What a code block holds that computes something itself instead of calling a tool only."""


class Turn(Part):
    """One assistant turn: a tool call or an answer."""

    tool: str | None = None
    arguments: dict[str, Any] = Field(default_factory=dict)
    answer: str | None = None
    error: str | None = None
    """Why the turn failed: it then counts for no instruction following."""

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        if self.tool is not None and self.answer is not None:
            raise ValueError("a turn is a tool call or an answer, not both")
        return self

    @property
    def kind(self) -> str:
        """Whether the turn calls a tool or answers."""
        return "tool" if self.tool is not None else "answer"


class Reference(Part):
    """Objective ground truth: every whitelist group needs an alias in the answer, no blacklist alias may be there."""

    whitelist: list[list[str]]
    blacklist: list[list[str]] | None = None


class Item(Row):
    """One query."""

    goal: str
    files: list[str] = Field(default_factory=list)
    turns: list[Turn] = Field(min_length=1)
    """The gold assistant turns."""
    observations: list[str] = Field(default_factory=list)
    """What the gold tool calls returned, in order."""
    objective: Reference | None = None
    subjective: list[str] = Field(default_factory=list)
    """Reference answers of a query without an objective one; both absent: an image is asked for."""


class Block(Part):
    """One code block of a code agent (t3)."""

    code: str
    error: bool = False


class Run(Part):
    """A prediction: ``turns`` for the official protocols, ``answer`` and ``blocks`` for T3's."""

    turns: list[Turn] = Field(default_factory=list)
    answer: Any = ""
    """T3-Agent's: any value, read as Python prints it."""
    blocks: list[Block] = Field(default_factory=list)


class Prediction(PredictionRow):
    """The turns of a run."""

    native: Run | None = None


class Match(Part):
    """The rules of a protocol."""

    rule: Literal["step", "end_to_end", "t3"]
    similarity: str = ""
    """The encoder behind subjective answers and images; empty: those queries are left out, and counted as such."""


class Gta(Benchmark):
    """GTA queries under one protocol. ``similarity`` replaces the protocol's encoder, for tests."""

    item_model = Item
    prediction_model = Prediction
    match_model = Match

    def __init__(self, protocol: BenchmarkProtocol, similarity: Similarity | None = None) -> None:
        super().__init__(protocol)
        self._similarity = similarity

    def outcome(self, item: Item, prediction: Prediction | None) -> Outcome:
        """The outcome of one query. Raises ``Unparsable``."""
        needed = "the turns, or the answer and code blocks, of the run"
        run = None if prediction is None else prediction.required(needed)
        rule = {"step": self._step, "end_to_end": self._end_to_end, "t3": self._t3}[self.match.rule]
        return Outcome(parts=rule(item, run), cluster=item.id, groups=(f"answer={answer_kind(item)}",))

    def worker(self, planner: Planner, horizon: int, tools: ToolAgent, images: Path | None) -> Worker:
        """The planner, asked for the next step of each turn; only the step-by-step protocols can be answered here."""
        if self.match.rule != "step":  # the tools are behind a network
            return super().worker(planner, horizon, tools, images)
        return lambda items: [answered_turns(item, planner, horizon) for item in items]

    def similarity(self, ours: str, theirs: str) -> float:
        """The similarity of two texts by the sentence encoder, which is loaded on first use."""
        if self._similarity is None:
            self._similarity = load(os.environ.get("TRACER_SIMILARITY") or self.match.similarity)
        return self._similarity(ours, theirs)

    def _answer_score(self, item: Item, answer: str) -> float:
        if item.objective is not None:
            return float(objective_match(answer, item.objective))
        return max([0.0, *(self.similarity(answer, reference) for reference in item.subjective)])

    def _answered(self, item: Item) -> bool:
        """Whether the query's answer is in the denominator."""
        return item.objective is not None or bool(item.subjective and self.match.similarity)

    def _step(self, item: Item, run: Run | None) -> dict[str, tuple[float, float]]:
        ours = run.turns if run is not None else []
        if len(ours) > len(item.turns):
            raise Unparsable(f"{len(ours)} turns for the {len(item.turns)} of the gold chain")
        calls = sum(turn.kind == "tool" for turn in item.turns)
        counts: Counter[str] = Counter()
        answer = 0.0
        for turn, gold in zip(ours, item.turns, strict=False):
            if turn.kind != gold.kind:
                continue
            counts["instruction"] += turn.error is None
            if gold.kind == "tool":
                counts["tool"] += turn.tool == gold.tool
                counts["argument"] += turn.tool == gold.tool and turn.arguments == gold.arguments
            elif self._answered(item):
                answer += self._answer_score(item, turn.answer or "")
        answered = answer_kind(item) != "image"
        return {
            "instruction": (counts["instruction"], calls + answered),
            "tool": (counts["tool"], calls),
            "argument": (counts["argument"], calls),
            "summary": (answer, self._answered(item)),
        }

    def _end_to_end(self, item: Item, run: Run | None) -> dict[str, tuple[float, float]]:
        ours = run.turns if run is not None else []
        answer, scored = 0.0, self._answered(item)
        last = ours[-1].answer if ours and ours[-1].kind == "answer" else None
        if scored and last:
            answer = self._answer_score(item, last)
        parts: dict[str, tuple[float, float]] = {"answer": (answer, scored)}
        if answer_kind(item) == "image":
            scored = bool(self.match.similarity)
            answer = self._image_score(item, ours) if scored and run is not None else 0.0
        parts["answer_image"] = (answer, scored)
        return parts | selection(ours, item.turns)

    def _image_score(self, item: Item, ours: Sequence[Turn]) -> float:
        """The product over gold image tools of how similar their arguments are; 0 where one was not called."""
        made = {turn.tool: turn.arguments for turn in ours if turn.tool in IMAGE_TOOLS and turn.error is None}
        score = 1.0
        for gold in item.turns:
            if gold.tool in IMAGE_TOOLS:
                if gold.tool not in made:
                    return 0.0
                score *= self.similarity(json.dumps(gold.arguments), json.dumps(made[gold.tool]))
        return score

    def _t3(self, item: Item, run: Run | None) -> dict[str, tuple[float, float]]:
        run = run or Run()
        answer = str(run.answer)
        right = False
        if item.objective is not None and not (self.protocol.strict and not answer.strip()):
            right = all(any(a.lower() in answer.lower() for a in group) for group in item.objective.whitelist)
        wanted = {T3_TOOLS[turn.tool] for turn in item.turns if turn.tool in T3_TOOLS}
        failed = sum(block.error for block in run.blocks)
        return {
            "answer": (right, item.objective is not None),
            "tool": (bool(wanted) and wanted <= used_tools(run.blocks), bool(wanted)),
            "code": (len(run.blocks) - failed, len(run.blocks)),
        }


def answered_turns(item: Mapping[str, Any], planner: Planner, horizon: int) -> dict[str, Any]:
    """Every turn of the gold chain, each predicted with the turns before it given."""
    history: list[str] = []
    states = []
    observations = item.get("observations", [])
    for index, turn in enumerate(item["turns"]):
        seen = observations[index - 1] if index else ""
        states.append(State(goal=item["goal"], history=tuple(history), observation=seen))
        if turn.get("tool") is not None:
            history.append(f"call {turn['tool']} with {json.dumps(turn.get('arguments', {}), sort_keys=True)}")
    return {"native": {"turns": [_turn(plan) for plan in planner.forecast(states, horizon)]}}


def _turn(plan: Plan) -> dict[str, Any]:
    action = plan.forecast[0].action if plan.forecast else None
    if action is not None and action.type == "tool_call":
        return {"tool": action.get("name"), "arguments": action.tool_arguments}
    if action is not None and action.type == "answer":
        return {"answer": action.get("text")}
    return {"error": plan.error or "neither a tool call nor an answer"}


def answer_kind(item: Item) -> str:
    """How an item's answer is judged: objective, image or subjective."""
    if item.objective is not None:
        return "objective"
    return "subjective" if item.subjective else "image"


def objective_match(answer: str, reference: Reference) -> bool:
    """Whether every whitelist group has an alias between word boundaries, case ignored, and the blacklist none."""
    if not all(_has_word(answer, aliases) for aliases in reference.whitelist):
        return False
    banned = [alias for aliases in reference.blacklist or [] for alias in aliases]
    return not reference.blacklist or not _has_word(answer, banned)


def _has_word(answer: str, aliases: Sequence[str]) -> bool:
    choices = "|".join(map(re.escape, aliases))
    return re.search(rf"\b(?:{choices})\b", answer, re.IGNORECASE) is not None


def selection(ours: Sequence[Turn], gold: Sequence[Turn]) -> dict[str, tuple[float, float]]:
    """Hits, and predicted or gold calls, by category; a gold call is a hit if its tool was called anywhere."""
    called = [turn.tool for turn in ours if turn.tool is not None]
    parts: dict[str, tuple[float, float]] = {}
    for category, tools in CATEGORIES.items():
        wanted = [turn.tool for turn in gold if turn.tool in tools]
        hits = sum(tool in called for tool in wanted)
        parts[f"{category}_precision"] = (hits, sum(tool in tools for tool in called))
        parts[f"{category}_recall"] = (hits, len(wanted))
    return parts


def used_tools(blocks: Sequence[Block]) -> set[str]:
    """The tools that code blocks without an error call; ``python`` for a block that computes something itself.

    A block that is not valid Python, or longer than tracer/sources/calls.py parses, calls none.
    """
    used: set[str] = set()
    for block in blocks:
        if block.error:
            continue
        try:
            tree = parse(block.code)
        except Refused:
            continue
        nodes = list(ast.walk(tree))
        called = [node.func for node in nodes if isinstance(node, ast.Call)]
        used |= {function.id for function in called if isinstance(function, ast.Name)} & set(T3_NAMES)
        if any(isinstance(node, COMPUTES) for node in nodes):
            used.add("python")
    return used


def _objective(truth: Any) -> dict[str, Any] | None:
    known = isinstance(truth, dict) and truth
    return {"whitelist": truth["whitelist"], "blacklist": truth.get("blacklist")} if known else None


def dataset_items(dataset: Mapping[str, Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """The items of ``dataset.json``."""
    for key, query in dataset.items():
        turns, observations, goal = [], [], ""
        for dialog in query["dialogs"]:
            if dialog["role"] == "user":
                goal = goal or dialog["content"]
            elif dialog["role"] == "tool":
                content = dialog["content"]
                observations.append(str(content.get("content", content) if isinstance(content, dict) else content))
            elif "tool_calls" in dialog:
                function = dialog["tool_calls"][0]["function"]
                turns.append({"tool": function["name"], "arguments": function["arguments"]})
            else:
                turns.append({"answer": dialog["content"] or ""})
        truth = query["gt_answer"]
        item = {
            "id": key,
            "goal": goal,
            "files": [file["path"] for file in query["files"]],
            "turns": turns,
            "observations": observations,
            "objective": _objective(truth),
            "subjective": list(truth) if isinstance(truth, list) else [],
        }
        Item.model_validate(item)
        yield item
