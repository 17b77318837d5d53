"""``tracer ingest --check`` and the JSON schema of the interchange format."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from tests.episodes import sample, write_raw
from tests.sources.collect import data
from tests.sources.writers import agentnet
from tracer.action import GRAMMAR
from tracer.ingestion.ingest import check
from tracer.schema import episode_schema


def schema_errors(path: Path) -> Iterator[str]:
    """Every line of an interchange file that the JSON schema refuses, as a tool in another language would see it."""
    validator = Draft202012Validator(episode_schema())
    for line in path.read_text(encoding="utf-8").splitlines():
        for found in validator.iter_errors(json.loads(line)):
            yield f"{found.json_path}: {found.message[:200]}"


def test_good_recordings_have_no_problem(tmp_path):
    write_raw(tmp_path, sample())
    found = check(data("jsonl", tmp_path))
    assert found == {"trajectories": 6, "steps": 12, "rejected": 0, "reasons": {}, "problems": []}
    assert not [error for path in tmp_path.rglob("*.jsonl") for error in schema_errors(path)]


@pytest.mark.parametrize(
    ("change", "where"),
    [
        (lambda episode: episode.pop("goal"), "goal"),
        (lambda episode: episode.update(colour=1), "colour"),
        (lambda episode: episode.update(split="trial"), "split"),
        (lambda episode: episode.update(steps=[]), "steps"),
        (lambda episode: episode["steps"][0].update(target=[0, 0, 2, 1]), "target"),
        (lambda episode: episode["steps"][0].update(action={"type": "fly"}), "action"),
        (lambda episode: episode["steps"][0].update(action={"type": "click", "x": 0.5}), "action"),
        (lambda episode: episode["steps"][0].update(action={"type": "click", "x": 0.5, "y": 3}), "action"),
        (lambda episode: episode["steps"][0].update(width="wide"), "width"),
    ],
)
def test_schema_and_adapter_agree_on_what_is_wrong(tmp_path, change, where):
    episodes = sample()[:1]
    change(episodes[0])
    (tmp_path / "train").mkdir()
    path = tmp_path / "train/click-two.jsonl"
    path.write_text(json.dumps(episodes[0]))
    errors = list(schema_errors(path))
    assert errors and any(where in error for error in errors)
    found = check(data("jsonl", tmp_path))
    assert (found["trajectories"], found["rejected"]) == (0, 1)
    assert "row 1" in found["problems"][0]


def test_every_action_type_is_in_the_schema():
    kinds = [each["properties"]["type"]["const"] for each in episode_schema()["$defs"]["Action"]["oneOf"]]
    assert kinds == list(GRAMMAR)


def test_any_source_can_be_checked(tmp_path):
    agentnet.write(tmp_path, ubuntu=[agentnet.line("bad", ["x = 1"])])
    found = check(data("agentnet", tmp_path, images=False))
    assert (found["trajectories"], dict(found["reasons"])) == (3, {"code is not a call": 1})
    assert "agentnet_ubuntu_5k.jsonl, row 1" in found["problems"][0]
