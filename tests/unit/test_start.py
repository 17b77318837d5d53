"""What a run starts from: the champion of when it began, whatever is promoted meanwhile."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.folders import STATES, Chain, step, weights
from tracer import cli, flow
from tracer.config import Config, load
from tracer.lineage import why
from tracer.lineage.digest import LineageError, finished
from tracer.registry import diff, promotion, rebuild, register, start, tracking, versions
from tracer.registry.tracking import RegistryError
from tracer.settings import ConfigError
from tracer.training import replay
from tracer.trajectory import Trajectory

ROOT = Path(__file__).parents[2]
ONLINE = [1.0, 0.0] * 12
PARAMS = "profile: test\nprofiles: {test: {data: {pointer: ''}, retrain: {from: champion}}}\n"
MORE = ("page/0", "page/1", "shop/0")


def configured(*overrides: str) -> Config:
    return load(overrides=[f"registry.tracking_uri=sqlite:///{Path.cwd()}/mlflow.db", *overrides])


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A registry with a champion, made by a run that began when there was none."""
    root = tmp_path_factory.mktemp("kept") / "project"
    root.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        Path("params.yaml").write_text(PARAMS)
        Path("mlflow").mkdir()
        shutil.copy(ROOT / "mlflow" / "promotion.yaml", "mlflow")
        config = configured()
        chain = Chain(config)
        config = start.begin(config)
        assert config.retrain.from_ == "base"
        promoted(config, chain, 1)
    return root


@pytest.fixture
def project(kept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    shutil.copytree(kept, tmp_path / "project")
    monkeypatch.chdir(tmp_path / "project")
    yield tmp_path / "project"


def promoted(config: Config, chain: Chain, number: int) -> versions.Version:
    right = [1.0 if index % 5 < number else 0.0 for index in range(STATES)]
    version = register.register(config, config.out("stage2"), chain.stage2(number, right, ONLINE))
    decision = promotion.promote(config, chain.base([0.0] * STATES, ONLINE), chain.ingest)
    assert decision.promoted, decision.reason
    return version


def ingested(config: Config, text: str = "{}\n{}\n") -> None:
    """Other raw data, ingested: a new run."""
    Path(config.data.path, "episodes.jsonl").write_text(text)
    step("ingest", config, config.out("ingest"), {"raw": Path(config.data.path)}, {"test-00000.parquet": text.encode()})


def test_a_run_that_began_without_a_champion_stays_with_the_base(project: Path) -> None:
    assert versions.aliased(configured().registry, "champion") is not None
    assert start.resolved(configured()).retrain.from_ == "base"
    assert flow.folder(configured(), "base") == Path("data/base")


def test_the_next_run_starts_from_the_champion_and_a_promotion_meanwhile_changes_nothing(project: Path) -> None:
    config = configured()
    ingested(config)
    found = start.begin(config)
    first = versions.numbered(config.registry, 1).tags[versions.WEIGHTS]
    assert found.retrain.from_ == f"tracer-planner/1#{first[:16]}"
    start.ready(found)
    copy = config.out("base")
    assert (copy / "model" / "model.safetensors").read_bytes() == weights(1)
    lineage = finished(copy)
    assert lineage is not None and lineage["metrics"]["weights"] == first
    assert lineage["config"] == {"version": "tracer-planner/1", "weights": first[:16]}
    promoted(config, Chain(config), 3)  # which puts the first run's data back
    ingested(config)
    assert start.begin(config) == found  # this run goes on from what it began with
    assert start.resolved(configured("seed=2")).retrain.from_.startswith("tracer-planner/2#")
    ingested(config, "{}\n{}\n{}\n")
    assert start.begin(config).retrain.from_.startswith("tracer-planner/2#")
    ingested(config)  # the data of before: its folders are found
    assert start.begin(config) == found


def test_looking_decides_nothing(project: Path) -> None:
    config = configured()
    ingested(config)
    assert start.resolved(config).retrain.from_.startswith("tracer-planner/1#")
    promoted(config, Chain(config), 3)
    ingested(config)
    assert start.resolved(config).retrain.from_.startswith("tracer-planner/2#")


def test_another_start_makes_the_first_stage_stale_and_says_which(project: Path) -> None:
    config = configured()
    assert flow.step("stage1").state(config)[1] != []  # the folders here are of the tests; what counts is the reason
    bound = configured("retrain.from=tracer-planner/1")
    state, reasons = flow.step("stage1").state(bound)
    named = start.resolved(bound).retrain.from_
    assert (state, reasons) == (why.STALE, [f"input base: base -> {named}"])
    start.ready(start.resolved(bound))
    assert f"input base: base -> {named}" not in flow.step("stage1").state(bound)[1]
    assert any(reason.startswith("input base: ") for reason in flow.step("stage1").state(bound)[1])


def test_another_registry_under_the_same_name_is_noticed(project: Path) -> None:
    with pytest.raises(RegistryError, match="another registry than the run began with"):
        start.fetch(configured(f"retrain.from=tracer-planner/1#{'0' * 16}"))
    with pytest.raises(versions.UnknownVersion):
        start.resolved(configured("retrain.from=tracer-planner/9"))
    with pytest.raises(ConfigError, match=r"retrain\.from"):
        configured("retrain.from=tracer-planner@champion")
    with pytest.raises(ConfigError, match=r"training starts from planner\.base"):
        start.fetch(start.resolved(configured()))


def trained_on(config: Config, number: int) -> versions.Version:
    """A version whose first stage started from what the configuration says."""
    chain = Chain(config, MORE)
    config = start.begin(config)
    start.ready(config)
    files = {"model/model.safetensors": weights(number), "model/config.json": {}, "metrics.jsonl": [{"reward": 0.1}]}
    inputs = {"trajectories": chain.ingest, "base": flow.folder(config, "base")}
    one = step("stage1", config, config.out("stage1"), inputs, files)
    two = step("stage2", config, config.out("stage2"), {"trajectories": chain.ingest, "stage1": one}, files)
    gate = {"stage": two, "parent": one, "trajectories": chain.ingest}
    right = [1.0] * STATES
    return register.register(config, two, {
        **chain.evaluations("stage2", two, right, ONLINE), "validate": chain.validate,
        "gate": step("gate-stage2", config, config.out("gate-stage2"), gate, {"gate.json": {"open": True}}),
    })  # fmt: skip


def test_a_version_names_its_start_everywhere(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = configured("retrain.from=tracer-planner/1")
    version = trained_on(config, 2)
    named = start.resolved(config).retrain.from_
    assert version.tags[versions.START] == "tracer-planner/1"
    made = rebuild.document_of(version.uri, config.registry)
    assert list(made["steps"]) == ["ingest", "base", "stage1", "stage2"]
    assert made["overrides"]["retrain.from"] == named and rebuild.starts_from(made) == "tracer-planner/1"
    assert rebuild.outside(made).keys() == {"ingest"}  # the data, which nothing pins here
    commands = rebuild.rebuild_commands(made)
    (fetched,) = [line for line in commands if "tracer base registered" in line]
    assert f'retrain.from="{named}"' in fetched and made["steps"]["base"]["output"] in fetched
    assert "# training started from tracer-planner/1: `tracer reproduce tracer-planner/1` makes that again" in commands
    assert any(reason.startswith("training started from tracer-planner/1, which cannot be made again: ")
               for reason in version.not_rebuildable)  # fmt: skip
    client = tracking.connect(config.registry)
    assert "started from tracer-planner/1." in client.get_model_version("tracer-planner", "2").description
    found = diff.diff("tracer-planner/1", "tracer-planner/2", config.registry)
    assert found.settings["retrain.from"] == ("base", named)
    tracked = f"registry.tracking_uri={config.registry.tracking_uri}"
    assert cli.main(["lineage", "tracer-planner/2", "--set", tracked]) == 0
    assert ", from tracer-planner/1\n" in capsys.readouterr().out


def episode(name: str) -> Trajectory:
    from tracer.action import Action
    from tracer.trajectory import Step

    click = Step(action=Action.of("click", x=0.5, y=0.5), instruction="click")
    page = name.partition("/")[0]
    return Trajectory(id=name, source="jsonl", split="train", task=page, goal=name, outcome="success", steps=(click,))


def test_a_share_of_the_old_episodes_is_replayed_beside_the_new(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tracer.dataset import content

    monkeypatch.chdir(tmp_path)
    old, new = ([episode(f"{page}/{index}") for index in range(400)] for page in ("old", "new"))

    def taken(start_from: str, share: float, seed: int = 0) -> list[str]:
        retrain = {"from": start_from, "replay": share}
        config = Config.model_validate({"profile": "test", "seed": seed, "retrain": retrain})
        folder = config.out("base")
        folder.mkdir(parents=True, exist_ok=True)
        listed = {"jsonl": {"old": {each.id: content(each) for each in old}}}
        (folder / "episodes.json").write_text(json.dumps(listed))
        kept = replay.chosen(config, [*old, *new])
        return [each.id for each in (*old, *new) if kept is None or each.id in kept]

    version = "tracer-planner/1#0123456789abcdef"
    some = taken(version, 0.25)
    replayed = [name for name in some if name.startswith("old/")]
    assert [name for name in some if name.startswith("new/")] == [each.id for each in new]
    assert 70 <= len(replayed) <= 130 and taken(version, 0.25) == some and taken(version, 0.25, seed=1) != some
    assert set(replayed) < {name for name in taken(version, 0.5) if name.startswith("old/")}
    assert taken(version, 0.0) == [each.id for each in new]
    everything = [each.id for each in (*old, *new)]
    assert taken(version, 1.0) == everything and taken("base", 0.0) == everything
    new.clear()
    with pytest.raises(LineageError, match=r"was made of all 400, and retrain\.replay takes none of them"):
        taken(version, 0.0)


def test_the_share_and_what_it_is_of_count_in_the_digest_of_both_stages(tmp_path: Path) -> None:
    version = "tracer-planner/1#0123456789abcdef"

    def recipe(stage: str, **retrain: object) -> dict[str, object]:
        config = Config.model_validate({"profile": "test", "retrain": retrain})
        step = flow.step(stage)
        found = step.recipe and step.recipe(config, dict.fromkeys(step.reads, tmp_path))
        assert found
        return {**found["config"], **found["inputs"]}

    for stage in ("stage1", "stage2"):
        assert recipe(stage) == recipe(stage, **{"from": version}) == recipe(stage, replay=0.5)
        some = recipe(stage, **{"from": version}, replay=0.5)
        assert some["replay"] == 0.5 and some["base"] == Path("build/test/seed0/base")
