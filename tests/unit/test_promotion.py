"""The gate to champion, its record and the way back, against a real MLflow on SQLite."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests

from tests.folders import STATES, Chain, episodes, results, step
from tests.keys import write_keys
from tracer import cli, json_lines
from tracer.config import Config
from tracer.json_files import write_json
from tracer.lineage.digest import LINEAGE, LineageError, digest_of
from tracer.lineage.step import read_lineage, run_step
from tracer.registry import policy, promotion, record, register, review, signing, tracking, verify, versions
from tracer.registry.settings import RegistryConfig
from tracer.registry.tracking import RegistryError

POLICY = Path(__file__).parents[2] / "mlflow" / "promotion.yaml"
WEAK = [1.0 if index % 5 == 0 else 0.0 for index in range(STATES)]  # 20 % right
STRONG = [0.0 if index % 5 == 0 else 1.0 for index in range(STATES)]  # 80 %
STRONGER = [1.0] * STATES
ONLINE = [1.0, 0.0] * 12


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """MLflow's tables take seconds to make, so they are made once and copied."""
    path = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    tracking.connect(RegistryConfig(tracking_uri=f"sqlite:///{path}")).search_experiments()
    return path


@pytest.fixture
def config(tmp_path: Path, empty_database: Path, monkeypatch: pytest.MonkeyPatch) -> Config:
    monkeypatch.chdir(tmp_path)
    shutil.copy(empty_database, tmp_path / "mlflow.db")
    return Config.model_validate(
        {
            "profile": "test",
            "data": {"pointer": ""},
            "registry": {"tracking_uri": f"sqlite:///{tmp_path}/mlflow.db", "policy": str(POLICY)},
        }
    )


def registered(
    config: Config, chain: Chain, number: int, right: list[float], online: list[float] = ONLINE
) -> versions.Version:
    return register.register(config, config.out("stage2"), chain.stage2(number, right, online))


def test_first_champion_must_not_be_worse_than_the_base(config: Config, caplog: pytest.LogCaptureFixture) -> None:
    chain = Chain(config)
    registered(config, chain, 1, WEAK)
    refused = promotion.promote(config, chain.base(STRONG, ONLINE), chain.ingest)
    assert (refused.outcome, refused.champion, refused.incumbent) == ("refused", None, "base")
    primary = next(check for check in refused.checks if check.name == "grounded step success")
    assert not primary.passed
    assert primary.numbers["items"] == STATES and primary.numbers["clusters"] == STATES / 3
    assert primary.numbers["difference"] == pytest.approx(-0.6)
    assert primary.numbers["only_challenger"] == STATES * 0.2 and primary.numbers["only_incumbent"] == STATES * 0.8
    assert versions.aliased(config.registry, "champion") is None

    registered(config, chain, 2, STRONG)
    promoted = promotion.promote(config, chain.base(STRONG, ONLINE), chain.ingest)
    assert promoted.promoted and promoted.champion == 2, promoted.reason
    assert versions.version_of("tracer-planner@champion", config.registry).version == 2
    assert json.loads((config.folder / promotion.DECISION).read_text())["champion"] == 2
    assert "is moved to version" not in caplog.text  # nothing was interrupted
    lines = promotion.describe(promoted).splitlines()
    assert sum("grounded step success:" in line for line in lines) == 1
    assert all(line.count("grounded step success") < 2 and "success: online" not in line for line in lines)


def test_a_stricter_policy_wants_the_first_champion_better(config: Config, tmp_path: Path) -> None:
    strict = tmp_path / "strict.yaml"
    strict.write_text(POLICY.read_text().replace("first: not_worse", "first: better"))
    config = config.model_copy(update={"registry": config.registry.model_copy(update={"policy": str(strict)})})
    chain = Chain(config)
    registered(config, chain, 1, STRONG)
    refused = promotion.promote(config, chain.base(STRONG, ONLINE), chain.ingest)
    assert [check.name for check in refused.checks if not check.passed] == ["grounded step success"]


def test_same_question_same_answer(config: Config) -> None:
    chain = Chain(config)
    first = registered(config, chain, 1, STRONG)
    assert registered(config, chain, 1, STRONG) == first
    base = chain.base(WEAK, ONLINE)
    decision = promotion.promote(config, base, chain.ingest)
    assert promotion.promote(config, base, chain.ingest) == decision
    assert len(promotion.history(config.registry)) == 1
    assert len(tracking.connect(config.registry).search_model_versions("name = 'tracer-planner'")) == 1


def test_a_champion_that_is_not_worse_stays(config: Config) -> None:
    chain = Chain(config)
    registered(config, chain, 1, STRONG)
    base = chain.base(WEAK, ONLINE)
    promotion.promote(config, base, chain.ingest)
    registered(config, chain, 2, [*STRONG[:-1], 1.0])
    refused = promotion.promote(config, base, chain.ingest)
    assert refused.outcome == "refused" and refused.incumbent == "1" and refused.champion == 1
    assert promotion.promote(config, base, chain.ingest) == refused


def test_significantly_worse_online_closes_the_gate(config: Config) -> None:
    chain = Chain(config)
    registered(config, chain, 1, STRONG, online=[0.0] * 24)
    refused = promotion.promote(config, chain.base(WEAK, [1.0] * 24), chain.ingest)
    failed = [check.name for check in refused.checks if not check.passed]
    assert failed == ["online task success"]


def test_without_a_browser_the_online_guard_is_skipped_and_says_so(config: Config) -> None:
    chain = Chain(config)
    registered(config, chain, 1, STRONG, online=[])
    decision = promotion.promote(config, chain.base(WEAK, []), chain.ingest)
    assert decision.promoted
    assert "skipped" in next(check for check in decision.checks if check.name == "online task success").description


def test_required_checks(config: Config) -> None:
    chain = Chain(config)
    evaluations = chain.stage2(1, STRONG, ONLINE, open=False)
    version = register.register(config, config.out("stage2"), evaluations)
    stored = next(versions.download(version.uri, config.registry).rglob("*.safetensors"))
    stored.write_bytes(stored.read_bytes()[:-1] + b"x")
    decision = promotion.promote(config, chain.base(WEAK, ONLINE), chain.ingest)
    assert [check.name for check in decision.checks if not check.passed] == ["gate", "files"]


def test_rollback_history_and_no_return_of_what_was_rolled_back(config: Config) -> None:
    chain = Chain(config)
    base = chain.base(WEAK, ONLINE)
    registered(config, chain, 1, STRONG)
    promotion.promote(config, base, chain.ingest)
    with pytest.raises(versions.RegistryError, match="first champion"):
        promotion.rollback(config.registry)
    registered(config, chain, 2, STRONGER)
    second = promotion.promote(config, base, chain.ingest)
    assert second.promoted and second.incumbent == "1"
    back = promotion.rollback(config.registry, "it clicked where it should not")
    assert (back.outcome, back.version, back.champion, back.incumbent) == ("rolled back", 1, 1, "2")
    assert versions.version_of("tracer-planner@champion", config.registry).version == 1
    # The nightly retraining makes the same challenger again: it must not undo what a person decided.
    registered(config, chain, 2, STRONGER)
    assert promotion.promote(config, base, chain.ingest) == back
    assert versions.version_of("tracer-planner@champion", config.registry).version == 1
    # Another policy is another question, and still no reason to bring it back.
    looser = Path("looser.yaml")
    looser.write_text(POLICY.read_text().replace("resamples: 10000", "resamples: 9999"))
    registry = config.registry.model_copy(update={"policy": str(looser)})
    assert promotion.promote(config.model_copy(update={"registry": registry}), base, chain.ingest) == back
    with pytest.raises(policy.ConfigError, match="needs a reason"):
        promotion.promote(config, base, chain.ingest, again=True)
    assert promotion.promote(config, base, chain.ingest, again=True, reason="the page was broken").promoted
    assert versions.version_of("tracer-planner@champion", config.registry).version == 2
    outcomes = [(entry.outcome, entry.version) for entry in promotion.history(config.registry)]
    assert outcomes == [("promoted", 1), ("promoted", 2), ("rolled back", 1), ("promoted", 2)]


def test_the_champion_of_any_day_is_named_though_the_clock_was_set_back(
    config: Config, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    chain = Chain(config)
    base = chain.base(WEAK, ONLINE)
    days = iter(("2026-11-02T09:00:00+00:00", "2026-11-09T09:00:00+00:00", "2026-11-08T12:00:00+00:00"))
    monkeypatch.setattr(promotion, "_now", lambda: next(days))
    for number, right in ((1, STRONG), (2, STRONGER)):
        registered(config, chain, number, right)
        assert promotion.promote(config, base, chain.ingest).promoted
    promotion.rollback(config.registry, "it was slow")
    Path("params.yaml").write_text("profile: test\nprofiles: {test: {}}\n")
    said = {}
    for at in ("2026-11-01", "2026-11-02", "2026-11-02T08:59", "2026-11-08", "2026-11-08T13:00+02:00", "2026-11-09"):
        uri = f"registry.tracking_uri={config.registry.tracking_uri}"
        assert cli.main(["history", "--at", at, "--set", uri]) == 0
        said[at] = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("the champion at"))
    champions = [line.removeprefix(f"the champion at {at} was ") for at, line in said.items()]
    # On the 8th the rollback was in force, as the record says: what came before it in the record came before it.
    assert champions == ["nobody", "version 1", "nobody", "version 1", "version 1", "version 1"]
    with pytest.raises(policy.ConfigError, match="'monday' is no date"):
        promotion.until([], "monday")


def test_a_decision_killed_before_it_took_effect_takes_effect(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    chain = Chain(config)
    registered(config, chain, 1, STRONG)
    base = chain.base(WEAK, ONLINE)

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(record, "move", killed)
        with pytest.raises(KeyboardInterrupt):
            promotion.promote(config, base, chain.ingest)
    assert versions.aliased(config.registry, "champion") is None
    assert promotion.promote(config, base, chain.ingest).promoted
    assert versions.version_of("tracer-planner@champion", config.registry).version == 1
    assert len(promotion.history(config.registry)) == 1


def test_a_deleted_entry_is_noticed(config: Config) -> None:
    chain = Chain(config)
    base = chain.base(WEAK, ONLINE)
    for number, right in ((1, STRONG), (2, STRONGER)):
        registered(config, chain, number, right)
        promotion.promote(config, base, chain.ingest)
    client = tracking.connect(config.registry)
    client.delete_model_version("tracer-planner-decisions", "1")
    with pytest.raises(versions.RegistryError, match="deleted or changed"):
        promotion.history(config.registry)


def test_a_store_that_does_not_answer_is_no_damage(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    chain = Chain(config)
    registered(config, chain, 1, STRONG)
    promotion.promote(config, chain.base(WEAK, ONLINE), chain.ingest)

    def silent(uri: str) -> str:
        raise requests.ConnectionError("no route to host")

    monkeypatch.setattr("mlflow.artifacts.load_text", silent)
    with pytest.raises(versions.RegistryError, match="does not answer: no route to host"):
        record.read(config.registry)


def test_a_changed_entry_is_noticed_repaired_and_kept(config: Config) -> None:
    chain = Chain(config)
    base = chain.base(WEAK, ONLINE)
    for number, right in ((1, STRONG), (2, STRONGER)):
        registered(config, chain, number, right)
        promotion.promote(config, base, chain.ingest)
    last = tracking.connect(config.registry).get_model_version("tracer-planner-decisions", "2")
    stored = Path(last.source.removeprefix("file://")) / record.DECISION
    stored.write_text(stored.read_text().replace('"by": "', '"by": "not '))
    found = record.read(config.registry)
    assert [each.version for each in found.decisions] == [1]
    assert found.damage == {"version 2": "its decision.json was changed"}
    with pytest.raises(versions.RegistryError, match=r"version 2: its decision\.json was changed.*history --repair"):
        promotion.rollback(config.registry)
    repaired = promotion.repair(config.registry, "the disk was full")
    assert (repaired.outcome, repaired.champion, repaired.lost) == ("repaired", 1, ("version 2",))
    assert [each.outcome for each in promotion.history(config.registry)] == ["promoted", "repaired"]
    assert stored.is_file()
    # The alias still points at version 2, which the record no longer explains.
    with pytest.raises(versions.RegistryError, match="points at version 2, which was never promoted"):
        versions.version_of("tracer-planner@champion", config.registry)
    assert promotion.restore_alias(config.registry) == repaired
    assert versions.version_of("tracer-planner@champion", config.registry).version == 1
    with pytest.raises(versions.RegistryError, match="nothing to repair"):
        promotion.repair(config.registry, "again")


def test_an_alias_moved_by_hand_is_noticed_and_put_right_by_a_person(config: Config) -> None:
    chain = Chain(config)
    base = chain.base(WEAK, ONLINE)
    registered(config, chain, 1, STRONG)
    promotion.promote(config, base, chain.ingest)
    refused = registered(config, chain, 2, WEAK)
    assert promotion.promote(config, base, chain.ingest).outcome == "refused"
    client = tracking.connect(config.registry)
    client.set_registered_model_alias("tracer-planner", "champion", str(refused.version))
    for use in (
        lambda: versions.load("tracer-planner@champion", config.registry),
        lambda: promotion.promote(config, base, chain.ingest),
        lambda: promotion.rollback(config.registry),
    ):
        with pytest.raises(versions.RegistryError, match=r"points at version 2, which was never promoted.*--adopt"):
            use()
    adopted = promotion.adopt(config.registry, "the customer asked for it")
    assert (adopted.outcome, adopted.version, adopted.incumbent, adopted.champion) == ("adopted", 2, "1", 2)
    assert versions.version_of("tracer-planner@champion", config.registry).version == 2
    with pytest.raises(versions.RegistryError, match="nothing to adopt"):
        promotion.adopt(config.registry, "again")
    assert promotion.rollback(config.registry, "not that good").champion == 1


def test_a_refused_version_does_not_return_over_the_base_by_deleting_the_alias(config: Config) -> None:
    chain = Chain(config)
    base = chain.base(WEAK, ONLINE)
    for number, right in ((1, STRONG), (2, STRONGER), (3, STRONG)):
        registered(config, chain, number, right)
        last = promotion.promote(config, base, chain.ingest)
    assert (last.outcome, last.incumbent) == ("refused", "2")
    tracking.connect(config.registry).delete_registered_model_alias("tracer-planner", "champion")
    with pytest.raises(versions.RegistryError, match="was deleted: the record says version 2"):
        promotion.promote(config, base, chain.ingest)


def test_a_run_decides_on_the_version_that_it_registered(config: Config) -> None:
    chain = Chain(config)
    registered(config, chain, 1, STRONG)
    base = chain.base(WEAK, ONLINE)
    receipt = (config.folder / register.RECEIPT).read_text()
    registered(config, chain, 2, STRONGER)  # somebody else's, and now the alias `challenger`
    (config.folder / register.RECEIPT).write_text(receipt)
    assert promotion.promote(config, base, chain.ingest).version == 1


def with_policy(config: Config, was: str, now: str) -> Config:
    """The configuration with a policy of its own."""
    path = Path(f"{len(list(Path().glob('*.yaml')))}.yaml")
    text = Path(config.registry.policy).read_text()
    assert was in text
    path.write_text(text.replace(was, now))
    return config.model_copy(update={"registry": config.registry.model_copy(update={"policy": str(path)})})


@pytest.fixture
def somebody_else(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], None]]:
    """Makes the process another user's, as far as the registry sees."""
    yield lambda: monkeypatch.setattr(os, "getuid", lambda: 54321)


def test_a_version_that_passes_waits_for_somebody_else_than_its_author(
    config: Config, somebody_else: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    config = with_policy(config, "approval: none", "approval: required")
    chain = Chain(config)
    base = chain.base(WEAK, ONLINE)
    registered(config, chain, 1, STRONG)
    with pytest.raises(versions.RegistryError, match=r"was never judged \(`tracer promote --profile test` does that"):
        review.approve(config.registry, 1, "it is mine")
    waiting = promotion.promote(config, base, chain.ingest)
    assert (waiting.outcome, waiting.champion, waiting.promoted) == ("waiting", None, False)
    assert "tracer approve 1" in waiting.reason and len(waiting.checks) == 6
    assert promotion.promote(config, base, chain.ingest) == waiting
    monkeypatch.setenv("USER", "somebody")  # a name that anybody can give himself
    monkeypatch.setenv("LOGNAME", "somebody")
    with pytest.raises(versions.RegistryError, match="by somebody else than its author"):
        review.approve(config.registry, 1, "it is mine")
    assert versions.aliased(config.registry, "champion") is None
    author = waiting.by
    somebody_else()
    client = tracking.connect(config.registry)
    client.delete_model_version_tag("tracer-planner", "1", versions.AUTHOR)
    with pytest.raises(versions.RegistryError, match="has no author but user 54321"):
        review.approve(config.registry, 1, "whoever made it")
    client.set_model_version_tag("tracer-planner", "1", versions.AUTHOR, author)
    approved = review.approve(config.registry, 1, "tried on the shop pages")
    assert (approved.outcome, approved.champion, approved.by) == ("approved", 1, "user 54321") and author != approved.by
    assert (approved.checks, approved.incumbent) == (waiting.checks, "base")
    assert versions.version_of("tracer-planner@champion", config.registry).version == 1
    assert [each.outcome for each in promotion.history(config.registry)] == ["waiting", "approved"]
    assert promotion.promote(config, base, chain.ingest) == approved
    with pytest.raises(versions.RegistryError, match="does not wait for approval: it was approved"):
        review.approve(config.registry, 1, "again")
    with pytest.raises(versions.RegistryError, match="first champion"):
        promotion.rollback(config.registry)


def test_an_approval_is_of_the_comparison_with_todays_champion(
    config: Config, somebody_else: Callable[[], None]
) -> None:
    careful = with_policy(config, "approval: none", "approval: required")
    chain = Chain(config)
    base = chain.base(WEAK, ONLINE)
    registered(config, chain, 1, STRONG)
    assert promotion.promote(careful, base, chain.ingest).outcome == "waiting"
    registered(config, chain, 2, STRONGER)
    assert promotion.promote(config, base, chain.ingest).promoted
    somebody_else()
    with pytest.raises(versions.RegistryError, match="compared with base, and the champion is now version 2"):
        review.approve(careful.registry, 1, "good")


def test_an_author_cannot_adopt_what_needs_approval(config: Config, somebody_else: Callable[[], None]) -> None:
    config = with_policy(config, "approval: none", "approval: required")
    registered(config, Chain(config), 1, STRONG)
    tracking.connect(config.registry).set_registered_model_alias("tracer-planner", "champion", "1")
    with pytest.raises(versions.RegistryError, match="by somebody else than its author"):
        promotion.adopt(config.registry, "it is mine")
    somebody_else()
    assert promotion.adopt(config.registry, "it is good").champion == 1


def test_what_was_rejected_is_not_promoted_and_not_gone_back_to(config: Config) -> None:
    chain = Chain(config)
    base = chain.base(WEAK, ONLINE)
    registered(config, chain, 1, STRONG)
    rejected = review.reject(config.registry, 1, "it buys things")
    assert (rejected.outcome, rejected.version, rejected.champion, rejected.reason) == (
        "rejected", 1, None, "it buys things",
    )  # fmt: skip
    assert promotion.promote(config, base, chain.ingest) == rejected
    assert promotion.promote(config, base, chain.ingest, again=True, reason="it was the shop's fault").promoted
    with pytest.raises(versions.RegistryError, match="is champion: `tracer rollback"):
        review.reject(config.registry, 1, "it buys things")
    half = [1.0 if index % 10 else 0.0 for index in range(STATES)]
    for number, right in ((2, half), (3, STRONGER)):
        registered(config, chain, number, right)
        assert promotion.promote(config, base, chain.ingest).promoted
    review.reject(config.registry, 2, "found out later")
    assert promotion.rollback(config.registry, "worse").version == 1
    with pytest.raises(versions.RegistryError, match="tracer-planner/9"):
        review.reject(config.registry, 9, "there is none")


def test_what_was_gone_back_to_is_judged_again(config: Config) -> None:
    """A rollback is from a version: the one that it brings back is free to win another time."""
    chain = Chain(config)
    base = chain.base(WEAK, ONLINE)
    for number, right in ((1, STRONG), (2, STRONGER)):
        registered(config, chain, number, right)
        promotion.promote(config, base, chain.ingest)
    promotion.rollback(config.registry, "worse")
    registered(config, chain, 3, STRONGER)
    assert promotion.promote(config, base, chain.ingest).champion == 3
    registered(config, chain, 1, STRONG)
    decision = promotion.promote(config, base, chain.ingest)
    assert (decision.outcome, decision.version, decision.incumbent) == ("refused", 1, "3")


def test_what_cannot_be_rebuilt_is_marked_or_refused(config: Config, capsys: pytest.CaptureFixture[str]) -> None:
    strict = with_policy(config, "rebuildable: marked", "rebuildable: required")
    chain = Chain(config)
    version = registered(config, chain, 1, STRONG)
    assert "its data data/raw are not pinned by DVC" in version.not_rebuildable
    refused = promotion.promote(strict, chain.base(WEAK, ONLINE), chain.ingest)
    assert [check.name for check in refused.checks if not check.passed] == ["rebuildable"]
    assert "not pinned by DVC" in refused.reason
    Path("params.yaml").write_text("profile: test\nprofiles: {test: {}}\n")
    uri = ["--set", f"registry.tracking_uri={config.registry.tracking_uri}"]
    assert cli.main(["history", *uri]) == 0
    assert "version 1 cannot be rebuilt: " in capsys.readouterr().out
    assert cli.main(["lineage", version.uri, *uri]) == 0
    assert "it cannot be rebuilt exactly:\n  " in capsys.readouterr().out
    client = tracking.connect(config.registry)
    client.delete_model_version_tag("tracer-planner", "1", versions.NOT_REBUILDABLE)
    assert versions.marked(config.registry) == {1: "its tag that would say so was deleted"}
    client.set_model_version_tag("tracer-planner", "1", versions.NOT_REBUILDABLE, "[]")  # as if it was pushed since
    assert promotion.promote(strict, chain.base(WEAK, ONLINE), chain.ingest).promoted


def test_too_few_items_promote_nothing(config: Config) -> None:
    config = with_policy(config, "evaluate: 100", f"evaluate: {STATES + 1}")
    chain = Chain(config)
    registered(config, chain, 1, STRONGER)
    refused = promotion.promote(config, chain.base(WEAK, ONLINE), chain.ingest)
    failed = {check.name: check for check in refused.checks if not check.passed}
    assert failed.keys() == {"grounded step success", "forecasts that parse"}
    assert "not enough items: 120 of 'evaluate', and min_items asks for 121" in refused.reason
    assert failed["grounded step success"].numbers["low"] > 0  # it would have won


def test_weights_that_were_changed_are_not_loaded(config: Config) -> None:
    chain = Chain(config)
    version = registered(config, chain, 1, STRONG)
    stored = next(versions.download(version.uri, config.registry).rglob("*.safetensors"))
    stored.write_bytes(stored.read_bytes()[:-1] + b"x")
    with pytest.raises(versions.RegistryError, match="not those that were registered"):
        versions.load(version.uri, config.registry)


def test_other_items_are_refused(config: Config) -> None:
    chain = Chain(config)
    registered(config, chain, 1, STRONG)
    base = chain.base(WEAK[:-3], ONLINE)
    with pytest.raises(LineageError, match="same held-out items"):
        promotion.promote(config, base, chain.ingest)


def of_the_first_scheme(folders: Mapping[str, Path]) -> Mapping[str, Path]:
    """The same folders, as if they had been made before digests counted libraries and data files."""
    for name, folder in folders.items():
        lineage = {**read_lineage(folder), "code": "c" * 64, "digest": digest_of(["old", name, str(folder)])}
        del lineage["scheme"]
        write_json(folder / LINEAGE, lineage)
    return folders


def test_a_champion_of_the_first_scheme_is_evaluated_once_more_and_nothing_registered_is_lost(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    chain, evaluated = Chain(config), []
    old = of_the_first_scheme(chain.stage2(1, STRONG, ONLINE))
    champion = register.register(config, config.out("stage2"), old)
    assert promotion.promote(config, of_the_first_scheme(chain.base(WEAK, ONLINE)), chain.ingest).promoted

    def offline(config: Config, trajectories: Path, model: Path, out: Path) -> None:
        evaluated.append(out.name)
        rows = {"results.jsonl": results(STRONG)}
        step("evaluate", config, out, {"trajectories": trajectories, "model": model}, rows)

    def online(config: Config, model: Path, out: Path, trajectories: Path) -> None:
        evaluated.append(out.name)
        step("online", config, out, {"model": model}, {"scores.json": {}, "results.jsonl": episodes(ONLINE)})

    monkeypatch.setattr("tracer.evaluation.offline.evaluate", offline)
    monkeypatch.setattr("tracer.evaluation.online.evaluate", online)
    registered(config, chain, 2, STRONGER)
    decision = promotion.promote(config, chain.base(WEAK, ONLINE), chain.ingest)
    assert decision.promoted and decision.incumbent == "1"
    assert evaluated == ["evaluate-champion-1", "online-champion-1"]

    kept = versions.version_of("tracer-planner/1", config.registry)
    assert kept.evaluations() == champion.evaluations() and (kept.digest, kept.output) == (
        champion.digest,
        champion.output,
    )
    assert versions.weights(versions.download(kept.uri, config.registry)).is_dir()
    assert [entry.version for entry in promotion.history(config.registry)] == [1, 2]
    assert promotion.rollback(config.registry).champion == 1


def test_who_decides_at_the_same_time_waits_for_the_champions_new_evaluation(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    chain = Chain(config)
    registered(config, chain, 1, STRONG)
    promotion.promote(config, chain.base(WEAK, ONLINE), chain.ingest)
    champion = versions.aliased(config.registry, "champion")
    assert champion is not None
    evaluated = []

    def evaluate(config: Config, trajectories: Path, model: Path, out: Path) -> None:
        def body(folder: Path) -> dict[str, float]:
            evaluated.append(folder)
            time.sleep(1.0)
            return {}

        run_step("evaluate", config={}, inputs={}, module="tracer.evaluation.offline", out=out, body=body)

    monkeypatch.setattr(promotion.offline, "evaluate", evaluate)
    with ThreadPoolExecutor(2) as both:
        asked = [both.submit(promotion._evaluate, config, "evaluate", champion, chain.ingest) for _ in range(2)]
        found = {each.result() for each in asked}
    assert found == {config.out("evaluate-champion-1")} and len(evaluated) == 1


def test_policy_is_refused_with_its_key(tmp_path: Path) -> None:
    path = tmp_path / "promotion.yaml"
    path.write_text(POLICY.read_text().replace("confidence: 0.95", "confidence: 2"))
    with pytest.raises(policy.ConfigError, match="confidence"):
        policy.load(path)
    path.write_text(POLICY.read_text().replace("min_gain:", "margin:"))
    with pytest.raises(policy.ConfigError, match=r"primary\.0\.margin"):
        policy.load(path)


RULE = {"name": "x", "evaluation": "e", "item": ("trajectory",), "cluster": "trajectory", "metric": "step"}


def evaluated(folder: Path, **sides: list[float]) -> list[dict[str, Path]]:
    """An evaluation by each side, a trajectory for each value."""
    for name, values in sides.items():
        (folder / name).mkdir()
        rows = [{"trajectory": number, "step": value} for number, value in enumerate(values)]
        json_lines.write(folder / name / "results.jsonl", rows)
    return [{"e": folder / name} for name in sides]


@pytest.mark.parametrize(
    ("gain", "min_gain", "max_loss", "passed"),
    [
        (0.10, 0.05, 0.0, [True, True]),
        (0.10, 0.15, 0.0, [False, True]),  # better, but by less than is asked
        (-0.10, 0.0, 0.05, [False, False]),
        (-0.10, 0.0, 0.15, [False, True]),  # worse, but by less than is allowed
    ],
)
def test_a_primary_has_to_gain_and_a_guard_may_lose(
    tmp_path: Path, gain: float, min_gain: float, max_loss: float, passed: list[bool]
) -> None:
    theirs = [0.3, 0.4, 0.5] * 4
    sides = evaluated(tmp_path, ours=[value + gain for value in theirs], theirs=theirs)
    rules = policy.Policy(
        confidence=0.95,
        resamples=200,
        primary=policy.Primary(**RULE, min_gain=min_gain),
        guards=(policy.Guard(**RULE, max_loss=max_loss),),
    )
    assert [check.passed for check in policy.judge(rules, *sides)] == passed


def test_shares_agree_with_a_computation_by_hand(tmp_path: Path) -> None:
    """Two trajectories of one step each: the bootstrap over them can draw only means 0, 1/2 and 1."""
    rule = policy.Primary(**RULE)
    ours, theirs = evaluated(tmp_path, ours=[1.0, 1.0], theirs=[0.0, 1.0])
    rules = policy.Policy(confidence=0.95, resamples=4000, primary=rule)
    found = policy.paired(rules, rule, ours, theirs, seed=0)
    assert (found["difference"], found["low"], found["high"]) == (0.5, 0.0, 1.0)
    assert found["mcnemar_p"] == 1.0 and found["only_challenger"] == 1


@pytest.mark.parametrize(
    ("wins", "gains", "passed", "bounds"),
    [
        ("all", (1, 0), [True, False], "95%"),
        ("all", (1, 1), [True, True], "95%"),
        ("any", (1, 0), [True, True], "97.5%"),  # 1 - 0.05 / 2
        ("any", (0, 0), [False, False], "97.5%"),
    ],
)
def test_several_primaries_are_won_all_or_one_at_bonferronis_confidence(
    tmp_path: Path, wins: str, gains: tuple[float, float], passed: list[bool], bounds: str
) -> None:
    ours, theirs = evaluated(tmp_path, ours=[1.0] * 12, theirs=[0.0] * 12)
    for side, gained in ((ours, gains), (theirs, (0, 0))):
        rows = [{"trajectory": number, "a": gained[0], "b": gained[1]} for number in range(12)]
        json_lines.write(side["e"] / "results.jsonl", rows)
    primary = [{**RULE, "name": name, "metric": name} for name in ("a", "b")]
    rules = policy.Policy.model_validate({"confidence": 0.95, "resamples": 200, "primary": primary, "wins": wins})
    found = policy.judge(rules, ours, theirs)
    assert [check.passed for check in found] == passed
    assert all(f"one-sided {bounds} bounds" in check.description for check in found)


def test_the_corrected_confidence_decides(tmp_path: Path) -> None:
    """Won by 9 of 12 and lost by 3, the lower bound is above zero at 95 % and not at 99 %."""
    ours, theirs = evaluated(tmp_path, ours=[1.0] * 9 + [0.0] * 3, theirs=[0.0] * 9 + [1.0] * 3)
    rules = {"confidence": 0.95, "resamples": 10_000, "wins": "any"}
    for count, won in ((1, True), (5, False)):
        primary = [{**RULE, "name": str(number)} for number in range(count)]
        checks = policy.judge(policy.Policy.model_validate({**rules, "primary": primary}), ours, theirs)
        assert [check.passed for check in checks] == [won] * count


def test_a_first_champion_that_must_not_be_worse_is_worse_in_no_primary(tmp_path: Path) -> None:
    ours, theirs = evaluated(tmp_path, ours=[0.0] * 12, theirs=[1.0] * 12)
    primary = [{**RULE, "name": "lost"}, {**RULE, "name": "same", "metric": "trajectory"}]
    rules = {"confidence": 0.95, "resamples": 200, "primary": primary, "wins": "any", "first": "not_worse"}
    checks = policy.judge(policy.Policy.model_validate(rules), ours, theirs, first=True)
    assert [check.passed for check in checks] == [False, True]


def test_min_items_of_an_evaluation_that_nothing_looks_at_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "promotion.yaml"
    path.write_text(POLICY.read_text().replace("  online: 20", "  onlin: 20"))
    with pytest.raises(policy.ConfigError, match="min_items: no comparison and no limit looks at onlin"):
        policy.load(path)


def test_with_a_policy_that_asks_for_it_only_a_signed_version_is_promoted_and_loaded(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    public = write_keys(tmp_path / "keys", monkeypatch)
    key = os.environ.pop(signing.KEY)
    strict = tmp_path / "strict.yaml"
    asked = f"signature: required\npublic_key: {public}"
    strict.write_text(POLICY.read_text(encoding="utf-8").replace("signature: none", asked), encoding="utf-8")
    off = config.registry
    config = config.model_copy(update={"registry": off.model_copy(update={"policy": str(strict)})})
    chain = Chain(config)
    version = registered(config, chain, 1, STRONG)
    base = chain.base(WEAK, ONLINE)
    refused = promotion.promote(config, base, chain.ingest)
    assert [check.name for check in refused.checks if not check.passed] == ["signature"] and not refused.promoted
    assert "it is not signed" in refused.reason
    with pytest.raises(RegistryError, match="signature: required"):
        versions.model(version.uri, config.registry)
    record.move(tracking.connect(config.registry), config.registry, 1)
    with pytest.raises(RegistryError, match="signature: required"):
        promotion.adopt(config.registry, "by hand")
    tracking.connect(config.registry).delete_registered_model_alias("tracer-planner", "champion")
    assert versions.model(version.uri, off).is_dir()

    monkeypatch.setenv(signing.KEY, key)
    signed = registered(config, chain, 1, STRONG)
    assert signed.version == 1 and signing.SIGNATURE in signed.tags
    assert promotion.promote(config, base, chain.ingest).champion == 1
    folder = versions.model("tracer-planner@champion", config.registry)
    lineage = folder.parent / "lineage.json"
    for altered in (lineage, folder / "config.json"):
        before = altered.read_bytes()
        altered.write_bytes(before + b" ")
        with pytest.raises(RegistryError, match=f"signed: .*{altered.name}"):
            versions.model("tracer-planner@champion", config.registry)
        found = [finding.detail for finding in verify.verify(config) if not finding.ok]
        assert len([each for each in found if altered.name in each and "signature: required" in each]) == 1
        altered.write_bytes(before)
    assert versions.model("tracer-planner@champion", config.registry) == folder
