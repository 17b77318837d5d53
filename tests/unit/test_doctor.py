"""The doctor: every finding says what is wrong and how to fix it, on installations broken on purpose."""

import importlib.metadata
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests import checkouts
from tracer import doctor
from tracer.finding import Finding
from tracer.lineage.pins import dvc_md5

ROOT = Path(__file__).parents[2]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A checkout with a data set, its pin, and a remote that is a folder."""
    (tmp_path / "data" / "raw").mkdir(parents=True)
    (tmp_path / "data" / "raw" / "page.jsonl").write_text("{}\n")
    (tmp_path / "data.dvc").write_text(f"outs:\n- md5: {dvc_md5(tmp_path / 'data')}\n  path: data\n")
    (tmp_path / ".dvc").mkdir()
    (tmp_path / ".dvc" / "config").write_text("[core]\n    remote = here\n['remote \"here\"']\n    url = ../remote\n")
    (tmp_path / "remote").mkdir()
    (tmp_path / "mlflow").mkdir()
    (tmp_path / "mlflow" / "server.env").write_text("A=1\n")
    version = importlib.metadata.version("pytest")
    (tmp_path / "constraints.txt").write_text(f"# pins\npytest=={version}\nnot-installed-at-all==1.0\n")
    return tmp_path


def bad(finding: Finding, *words: str) -> None:
    assert not finding.ok
    assert finding.fix
    for word in words:
        assert word in finding.detail


def test_this_installation_has_no_fault_of_its_own() -> None:
    findings = {finding.name: finding for finding in doctor.doctor(ROOT)}
    assert len(findings) == 15
    for name in ("python", "pins", "antlr", "mlflow", "gpu", "torchvision", "vllm"):
        assert findings[name].ok, findings[name]
    assert all(finding.fix for finding in findings.values() if not finding.ok)


def test_a_whole_checkout_is_well(root: Path) -> None:
    for finding in (doctor.pins(root / "constraints.txt"), doctor.mlflow(root), doctor.remote(root), doctor.data(root)):
        assert finding.ok, finding
        assert not finding.fix


def test_a_dvc_yaml_that_watches_other_data_is_named(tmp_path: Path) -> None:
    assert doctor.dvc_stages(ROOT).ok and doctor.dvc_stages(tmp_path).ok
    (tmp_path / "dvc.yaml").write_bytes((ROOT / "dvc.yaml").read_bytes())
    params = (ROOT / "params.yaml").read_text(encoding="utf-8")
    (tmp_path / "params.yaml").write_text(params, encoding="utf-8")
    assert doctor.dvc_stages(tmp_path).ok
    moved = params.replace("  demo:", "  demo:\n    data: {path: team/episodes}\n   ", 1)
    (tmp_path / "params.yaml").write_text(moved, encoding="utf-8")
    bad(doctor.dvc_stages(tmp_path))


@pytest.mark.parametrize(("version", "ok"), [((3, 10), False), ((3, 11), True), ((3, 12), True), ((3, 13), False)])
def test_the_python_version(version: tuple[int, int], ok: bool) -> None:
    assert doctor.python(version).ok is ok


def test_a_package_of_another_version_is_named(root: Path) -> None:
    (root / "constraints.txt").write_text("pytest==0.0.1\nruff==0.0.2\n")
    finding = doctor.pins(root / "constraints.txt")
    bad(finding, "pytest", "not 0.0.1", "ruff", "not 0.0.2")


def test_constraints_that_pin_nothing_installed_are_no_success(root: Path) -> None:
    (root / "constraints.txt").write_text("not-installed-at-all==1.0\n")
    bad(doctor.pins(root / "constraints.txt"))
    bad(doctor.pins(root / "none.txt"), "does not exist")


def test_python_in_the_settings_folder_is_a_fault(root: Path) -> None:
    (root / "mlflow" / "__init__.py").write_text("")
    bad(doctor.mlflow(root), "mlflow/__init__.py")


def test_data_that_changed_under_its_pin(root: Path) -> None:
    (root / "data" / "raw" / "page.jsonl").write_text("{} \n")
    bad(doctor.data(root), "pins")
    shutil.rmtree(root / "data")
    bad(doctor.data(root), "does not exist")


def test_sample_data_that_nobody_needs_may_be_absent(root: Path) -> None:
    (root / "params.yaml").write_text("profile: demo\nprofiles: {demo: {}}\n")
    shutil.rmtree(root / "data")
    bad(doctor.data(root), "does not exist")
    (root / "params.yaml").write_text("profile: demo\nprofiles: {demo: {}, shop: {data: {path: shop}}}\n")
    found = doctor.data(root)
    assert found.ok and "only the sample profiles need it" in found.detail
    assert found.command == ("dvc", "pull", "data.dvc")  # --fix brings it


def test_a_remote_that_is_gone(root: Path) -> None:
    (root / "remote").rmdir()
    bad(doctor.remote(root), "does not exist")
    (root / ".dvc" / "config").write_text("")
    bad(doctor.remote(root), "no default remote")


def test_a_remote_elsewhere_is_named_and_not_contacted(root: Path) -> None:
    (root / ".dvc" / "config").write_text("[core]\nremote = far\n['remote \"far\"']\nurl = s3://bucket/tracer\n")
    finding = doctor.remote(root)
    assert finding.ok
    assert "s3://bucket/tracer" in finding.detail


def test_the_local_configuration_of_dvc_wins(root: Path) -> None:
    (root / ".dvc" / "config.local").write_text("['remote \"here\"']\nurl = ../elsewhere\n")
    bad(doctor.remote(root), "elsewhere")


def test_a_missing_browser_names_what_is_skipped(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    bad(doctor.browser(), "online")


def test_little_memory() -> None:
    bad(doctor.memory(1_000_000_000), "1.0 GB")
    assert doctor.memory(9_000_000_000).ok


def test_a_package_that_is_installed_and_broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert doctor.importable("torchvision_of_nobody").ok
    assert doctor.importable("pytest").ok
    (tmp_path / "broken.py").write_text("raise RuntimeError('operator torchvision::nms does not exist')\n")
    (tmp_path / "broken-1.0.dist-info").mkdir()
    (tmp_path / "broken-1.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1.0\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    bad(doctor.importable("broken"), "1.0", "nms does not exist")


def test_the_doctor_starts_without_torch() -> None:
    code = "import sys, tracer.doctor; print([name for name in ('torch', 'pandas', 'mlflow') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "[]"


def test_what_is_absent_is_brought_back_and_what_is_there_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "checkout"
    checkouts.begun(root)
    checkouts.enter(root, monkeypatch)
    shutil.rmtree(root / "data")
    (root / "constraints.txt").unlink()
    (root / "params.yaml").write_text("profile: mine\n")
    findings = [doctor.pins(root / "constraints.txt"), doctor.data(root), doctor.remote(root)]
    assert [finding.ok for finding in findings] == [False, False, True]
    assert list(doctor.fix(findings)) == ["git checkout constraints.txt: done", "dvc pull data.dvc: done"]
    assert doctor.pins(root / "constraints.txt").ok and doctor.data(root).ok
    assert (root / "params.yaml").read_text() == "profile: mine\n"
    shutil.rmtree(root / "data")
    shutil.rmtree(root / ".dvc" / "cache")
    shutil.rmtree(tmp_path / "remote")
    (said,) = doctor.fix([doctor.data(root)])
    assert said.startswith("dvc pull data.dvc: ") and "failed" in said.lower()
