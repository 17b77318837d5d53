"""The tool that asks a served vision model about pictures, against a small HTTP server."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from tests.integration.test_grounding import Model, model
from tests.services import free_port
from tests.unit.test_toolbox import at, call, made
from tracer import tools
from tracer.planner import describing
from tracer.planner.describing import MODEL, DescribeImage
from tracer.planner.served import ServerError, client
from tracer.settings import ConfigError
from tracer.tools.execution import Executors, Outcome
from tracer.tools.files import FILES
from tracer.tools.settings import GroundingConfig

__all__ = ["model"]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(FILES, str(tmp_path))
    monkeypatch.delenv(MODEL, raising=False)
    Image.new("RGB", (60, 40), "red").save(tmp_path / "cat.png")
    return tmp_path


def named(port: int) -> str:
    return f"openai:http://127.0.0.1:{port}#viewer"


def test_a_picture_is_asked_about_once(model: Model, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(MODEL, named(model.server_port))
    model.says = " A red cat. "
    question = {"path": "cat.png", "question": "What is it?"}
    assert made(DescribeImage(), **question) == made(DescribeImage(), **question) == Outcome(answer="A red cat.")
    (folder / "copy.png").write_bytes((folder / "cat.png").read_bytes())
    assert made(DescribeImage(), path="copy.png", question="What is it?") == Outcome(answer="A red cat.")
    assert model.asked == [{"text": "What is it?", "size": (60, 40), "model": "viewer"}]
    made(DescribeImage(), path="cat.png#xywh=10,10,20,900")
    assert model.asked[1:] == [{"text": "Describe this picture.", "size": (20, 30), "model": "viewer"}]
    outcome = made(DescribeImage(), path="dog.png")
    assert outcome is not None and outcome.failed and "'dog.png' is not in" in outcome.answer
    recorded = call("visualizer", image_path="data/cat.png", question="What is it?")
    executors = Executors(["describe_image"])
    assert executors.reward(at(recorded), recorded) == 1.0 and len(model.asked) == 2
    (tool, files) = tools.identities(GroundingConfig(executors=("describe_image",)))["tools"]
    assert tool["version"].endswith(f", viewer at http://127.0.0.1:{model.server_port}/v1")
    assert files["name"] == "describe_image/TRACER_FILES"


def test_a_server_that_does_not_answer_is_no_score(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(MODEL, named(model.server_port))
    asking, model.says = call("describe_image", path="cat.png", question="Who?"), "nothing"
    executors = Executors(["describe_image"])
    with pytest.raises(ServerError, match=r"viewer at http://127\.0\.0\.1.* sent no chat completion"):
        executors.reward(at(asking), asking)
    model.says = "Nobody."
    assert executors.reward(at(asking), asking) == 1.0  # it is asked again
    monkeypatch.setenv(MODEL, named(free_port()))
    monkeypatch.setattr(describing, "client", lambda endpoint, key: client(endpoint, key).with_options(max_retries=0))
    with pytest.raises(ServerError, match="gave no answer"):
        made(DescribeImage(), path="cat.png", question="Who?")
    monkeypatch.setenv(MODEL, "gpt")
    with pytest.raises(ConfigError, match="write openai:http://HOST:PORT/v1#MODEL"):
        tools.identities(GroundingConfig(executors=("describe_image",)))


def test_without_a_model_it_is_off() -> None:
    outcome = made(DescribeImage(), path="cat.png")
    assert outcome is not None and outcome.failed and f"name one in {MODEL}" in outcome.answer
    assert tools.identities(GroundingConfig(executors=("describe_image",)))["tools"] == []
