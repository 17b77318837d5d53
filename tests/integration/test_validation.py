"""The gate after ingestion: clean data passes, and each kind of damage is found where it is, with its fix."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.episodes import episode, picture, sample, write_raw
from tracer.config import Config
from tracer.dataset import DatasetError, schema
from tracer.ingestion.ingest import ingest
from tracer.lineage.digest import finished
from tracer.planner import hub
from tracer.planner.length import PromptLength
from tracer.planner.plan import PlannerSettings
from tracer.trajectory import State
from tracer.validation.suite import expectations
from tracer.validation.validate import ValidationFailed, raise_on_failure, validate

Row = dict[str, Any]


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Path:
    """The processor of a tiny planner: validation needs no weights."""
    from tracer.planner.tiny import build_processor

    folder = tmp_path_factory.mktemp("base")
    build_processor((json.dumps(line) for line in sample()), 400).save_pretrained(folder)
    (folder / "config.json").write_text("{}", encoding="utf-8")
    return folder


def configured(raw: Path, base: Path | str, **planner) -> Config:
    data = {"path": str(raw), "pointer": ""}
    return Config(profile="test", data=data, planner={"base": str(base), **planner})


def results(folder: Path) -> dict[str, dict[str, Any]]:
    return {result["name"]: result for result in json.loads((folder / "validation.json").read_text())["results"]}


def rewrite(path: Path, change: Callable[[list[Row]], list[Row]]) -> None:
    """Change a shard's rows, as a foreign writer could have written them: without our checks, nulls allowed."""
    nullable = pa.schema([field.with_nullable(True) for field in schema()])
    rows = change(pq.read_table(path).to_pylist())
    pq.write_table(pa.Table.from_pylist(rows, schema=nullable), path)


def test_clean_data_passes_every_expectation_and_twice_alike(tmp_path, base):
    config = configured(write_raw(tmp_path / "raw", sample()), base)
    ingest(config, tmp_path / "ingest")
    done = validate(config, tmp_path / "ingest", hub.folder(config), tmp_path / "validate")
    assert {name for name, result in results(tmp_path / "validate").items() if not result["success"]} == set()
    assert done["metrics"] == {
        "rows": 12, "trajectories": 6, "errors": 0, "warnings": 0,
        "expectations": len(expectations(config, prompts=True)),
    }  # fmt: skip
    raise_on_failure(tmp_path / "validate")
    page = (tmp_path / "validate/logs/data_docs/index.html").read_text()
    assert "Data Docs" in page or "steps" in page
    assert len(list((tmp_path / "validate/logs/data_docs/validations").rglob("*.html"))) == 2
    again = validate(config, tmp_path / "ingest", hub.folder(config), tmp_path / "again")
    assert again["output"] == done["output"]


# Each changes the rows of one trajectory of three steps. What is expected: the expectations that fail for it.
def put(step: int, **values: Any) -> Callable[[list[Row]], list[Row]]:
    def change(rows: list[Row]) -> list[Row]:
        rows[step] = {**rows[step], **values}
        return rows

    return change


def act(step: int, **action: Any) -> Callable[[list[Row]], list[Row]]:
    return put(step, action=json.dumps(action), action_type=action["type"])


ELSEWHERE = [{"role": "button", "text": "One", "box": [0.1, 0.2, 0.4, 1.3], "value": "", "state": ""}]
BROKEN: dict[str, tuple[Callable[[list[Row]], list[Row]], list[str], str]] = {
    "unknown action": (act(1, type="teleport"), ["action types are known", "actions obey the grammar"], "teleport"),
    "x off the screen": (act(1, type="click", x=1.4, y=0.25), ["x lies on the screen"], "x = 1.4"),
    "y negative": (act(1, type="click", x=0.25, y=-3), ["y lies on the screen"], "y = -3.0"),
    "end of a drag off the screen": (
        act(1, type="drag", x=0.2, y=0.2, to_x=0.2, to_y=7.5), ["to_y lies on the screen"], "to_y = 7.5",
    ),
    "not a number": (put(1, action='{"type": "click", "x": NaN, "y": 0.2}'), ["actions obey the grammar"], "finite"),
    "no JSON": (put(1, action="click(1, 2)"), ["actions obey the grammar"], "not a JSON object"),
    "another type": (put(1, action_type="double_click"), ["the action type is the action's"], "double_click"),
    "gap": (
        lambda rows: [rows[0], rows[2]],
        ["steps are in order, without gaps", "trajectories have as many steps as they say"], "step",
    ),
    "twice": (lambda rows: [rows[0], *rows], ["no step is there twice"], "step = 0"),
    "cut": (lambda rows: rows[:2], ["trajectories have as many steps as they say"], "steps = 3, found_steps = 2"),
    "another split": (
        put(1, split="test"), ["rows lie in their split's shards", "no trajectory is in two splits"], "splits = 2",
    ),
    "unknown split": (put(1, split="dev"), ["splits are known"], "split = 'dev'"),
    "wrong size": (put(1, image=picture("small", 80, 90)), ["pictures have the stated width"], "image_width = 80"),
    "half a picture": (put(1, image=picture("half")[:-60]), ["pictures decode"], "not a whole PNG"),
    "no picture at all": (put(1, image=b"hello"), ["pictures decode"], "5 bytes"),
    "missing picture": (put(1, image=None), ["every step has a picture"], "has_image = False"),
    "target off the screen": (
        put(1, target=[0.1, 0.2, 1.7, 0.3]), ["the target's right side lies on the screen"], "target_right = 1.7",
    ),
    "target inverted": (put(1, target=[0.4, 0.2, 0.1, 0.3]), ["targets are boxes"], "left is right of right"),
    "target of three": (put(1, target=[0.4, 0.2, 0.1]), ["targets are boxes"], "is not left, top, right, bottom"),
    "click beside its target": (
        put(1, target=[0.6, 0.6, 0.8, 0.7]), ["clicks lie inside their target"], "outside_target = ",
    ),
    "element off the screen": (put(1, elements=ELSEWHERE), ["elements lie on the screen"], "1.3"),
    "unknown outcome": (put(1, outcome="won"), ["outcomes are known"], "outcome = 'won'"),
    "no goal": (put(1, goal=" "), ["goal is given", "a trajectory keeps its goal, task, split and outcome"], "goal"),
    "null instruction": (put(1, instruction=None), ["instruction is given"], "instruction = ''"),
    "another element": (
        put(1, instruction='click the button "Two"'), ["instructions lead to their element"], "leads to 'Two'",
    ),
    "after the end": (act(0, type="terminate", status="success"), ["nothing follows the end"], "'terminate'"),
    "long prompt": (put(1, goal="Click. " + "word " * 900), ["prompts fit the planner's context"], "prompt_tokens = "),
}  # fmt: skip
WARNINGS = {"instructions lead to their element", "nothing follows the end"}


def three_steps(split: str, number: int) -> dict[str, Any]:
    line = episode(split, number)
    middle = {**line["steps"][0], "image": f"click-two-{number}-middle.png"}
    return {**line, "steps": [line["steps"][0], middle, line["steps"][1]]}


def named(number: int) -> str:
    return f"jsonl/click-two/{number}"


@pytest.fixture(scope="module")
def broken(tmp_path_factory, base) -> dict[str, Any]:
    """All breakings at once, each in a trajectory of its own, beside good ones; what validation says of them."""
    folder = tmp_path_factory.mktemp("broken")
    count = len(BROKEN)
    lines = [three_steps("train", number) for number in range(count + 2)]
    lines += [three_steps(split, count + 10 + index) for index, split in enumerate(("test", "heldout"))]
    lines[count + 1]["steps"][0]["action"] = {"type": "teleport"}  # one for the quarantine
    config = configured(write_raw(folder / "raw", lines), base, max_prompt_tokens=512)
    ingest(config, folder / "ingest")

    def change(rows: list[Row]) -> list[Row]:
        changed: list[Row] = []
        for number, (breaks, _, _) in enumerate(BROKEN.values()):
            changed += breaks([row for row in rows if row["trajectory_id"] == named(number)])
        return changed + [row for row in rows if row["trajectory_id"] == named(count)]

    train, test = folder / "ingest/train-00000.parquet", folder / "ingest/test-00000.parquet"
    rewrite(train, change)
    good = pq.read_table(train).to_pylist()[-3:]

    def twins(rows: list[Row]) -> list[Row]:
        """The good training trajectory once more: under its own id, and its states under another."""
        copies = [{**row, "split": "test"} for row in good]
        return [*rows, *copies, *({**row, "trajectory_id": "jsonl/copy"} for row in copies)]

    rewrite(test, twins)
    held = folder / "ingest/heldout-00000.parquet"
    table = pq.read_table(held)
    pq.write_table(table.set_column(1, "step", table["step"].cast(pa.int64())), held)
    (folder / "ingest/lineage.json").unlink()  # the files are no longer the step's
    validate(config, folder / "ingest", hub.folder(config), folder / "validate")
    shards = {path.name: pq.read_table(path).to_pylist() for path in (train, test, held)}
    failures = pq.read_table(folder / "validate/failures.parquet").to_pylist()
    return {"folder": folder, "results": results(folder / "validate"), "failures": failures, "shards": shards}


@pytest.mark.parametrize("name", BROKEN)
def test_a_breaking_is_found_in_its_row_and_only_there(broken, name):
    _, failing, detail = BROKEN[name]
    trajectory = named(list(BROKEN).index(name))
    found = [failure for failure in broken["failures"] if failure["trajectory_id"] == trajectory]
    for expectation in failing:
        assert not broken["results"][expectation]["success"]
        hits = [failure for failure in found if failure["expectation"] == expectation]
        assert hits, f"{expectation} did not name {trajectory}, only {found}"
        hit = hits[0]
        row = broken["shards"][hit["file"]][hit["row"]]
        assert (row["trajectory_id"], row["step"]) == (trajectory, hit["step"])
        assert hit["fix"]
        assert hit["severity"] == ("warning" if expectation in WARNINGS else "error")
    assert any(detail in failure["found"] for failure in found if failure["expectation"] in failing), found


def test_the_untouched_trajectory_fails_only_for_its_twins(broken):
    good = {failure["expectation"] for failure in broken["failures"] if failure["trajectory_id"] == named(len(BROKEN))}
    assert good == {
        "no state is in two splits",
        "no trajectory is in two splits",
        "no step is there twice",
        "trajectories have as many steps as they say",
    }


def test_a_state_under_another_id_in_another_split_is_found(broken):
    twins = [failure for failure in broken["failures"] if failure["trajectory_id"] == "jsonl/copy"]
    assert {failure["expectation"] for failure in twins} == {"no state is in two splits"}
    assert twins[0]["found"] == f"train has the same state: step 0 of {named(len(BROKEN))}"


def test_other_types_and_missing_splits_are_found(broken):
    types = broken["results"]["columns have the canonical types"]
    assert [example["found"] for example in types["examples"]] == ["step is int64, not int32"] * 3
    assert broken["results"]["trained tasks have data in every split"]["observed"] == "missing: validation"
    assert broken["results"]["there is training and test data"]["success"]


def test_quarantined_records_are_a_share_and_named(broken):
    share = broken["results"]["few records are quarantined"]
    assert not share["success"]
    assert share["observed"] == pytest.approx(1 / (len(BROKEN) + 5))
    [example] = share["examples"]
    assert (example["file"], example["row"]) == ("train/click-two.jsonl", len(BROKEN) + 2)
    assert "unknown action: step 0: unknown action type 'teleport'" in example["found"]


def test_the_gate_names_files_rows_and_fix(broken):
    with pytest.raises(ValidationFailed) as failed:
        raise_on_failure(broken["folder"] / "validate")
    message = str(failed.value)
    assert "- x lies on the screen: 1 of " in message
    assert f"train-00000.parquet, row 4, {named(1)}, step 1: x = 1.4" in message
    assert "fix: coordinates are fractions of the screen" in message
    assert "instructions lead to their element" not in message  # a warning closes no gate
    assert "more in failures.parquet" in message


def test_a_truncated_shard_is_an_error_that_names_it(tmp_path, base):
    config = configured(write_raw(tmp_path / "raw", sample()), base)
    ingest(config, tmp_path / "ingest")
    shard = tmp_path / "ingest/train-00000.parquet"
    shard.write_bytes(shard.read_bytes()[:-300])
    with pytest.raises(DatasetError, match=r"train-00000\.parquet.* run the step `ingest` again"):
        validate(config, tmp_path / "ingest", hub.folder(config), tmp_path / "validate")
    assert finished(tmp_path / "validate") is None


def test_without_test_data_the_gate_is_closed_and_without_a_base_prompts_are_not_checked(tmp_path, caplog):
    config = configured(write_raw(tmp_path / "raw", sample()[:4]), tmp_path / "nowhere")
    ingest(config, tmp_path / "ingest")
    validate(config, tmp_path / "ingest", hub.folder(config), tmp_path / "validate")
    found = results(tmp_path / "validate")
    assert found["there is training and test data"]["observed"] == "missing: test"
    prompts = found["prompts fit the planner's context"]
    assert (prompts["applicable"], prompts["success"], prompts["severity"]) == (False, False, "warning")
    with pytest.raises(ValidationFailed, match="missing: test"):
        raise_on_failure(tmp_path / "validate")
    assert not any("ephemeral docs site" in each for each in caplog.messages)
    told = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert any(
        each.startswith("warning prompts fit the planner's context: not checked: the base planner ")
        and f"nowhere does not exist: `tracer base tiny --profile {config.profile} --episodes " in each
        for each in told
    )
    assert not any("heldout" in each for each in told)  # data of one's own need not have tasks to hold out


def test_prompts_are_as_long_as_the_processor_makes_them(base):
    from transformers import AutoProcessor

    from tracer.planner.prompt import messages
    from tracer.planner.transformers import picture as decoded

    settings = PlannerSettings.of(configured(Path("raw"), base).planner)
    processor = AutoProcessor.from_pretrained(base)
    states = [
        State(goal=f"Click {number}.", image=picture(str(number), 160, height), width=160, height=height)
        for number, height in enumerate((210, 100, 400))
    ]
    counted = PromptLength.load(base, settings)(states)
    for state, count in zip(states, counted, strict=True):
        text = processor.apply_chat_template(messages(state, settings), add_generation_prompt=True, tokenize=False)
        assert len(processor(text=[text], images=[decoded(state)])["input_ids"][0]) == count
