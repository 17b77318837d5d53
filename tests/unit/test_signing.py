"""Signatures of versions: ours, those of OpenSSF's tool, and each way in which one can be wrong."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, PrivateFormat

from tests.keys import write_keys
from tracer.registry import policy, signing
from tracer.settings import ConfigError

GOLDEN = Path(__file__).parents[1] / "golden" / "model-signing"
"""Signed with OpenSSF's model-signing 1.1.1: `python -m model_signing sign key artifacts --private_key ...`."""


def signed(folder: Path, public: Path) -> str:
    key = signing.private_key()
    assert key is not None
    signature = signing.sign("tracer-planner", folder.iterdir(), key)
    assert signing.fault(signature, folder, public) == ""
    return signature


@pytest.fixture
def files(tmp_path: Path) -> Path:
    return Path(shutil.copytree(GOLDEN / "artifacts", tmp_path / "artifacts"))


def test_a_signature_of_openssf_s_tool_is_verified() -> None:
    signature = (GOLDEN / "model.sig").read_text(encoding="utf-8")
    assert signing.fault(signature, GOLDEN / "artifacts", GOLDEN / "key.pub") == ""


ALTERED: dict[str, Callable[[Path], object]] = {
    "model/model.safetensors": lambda folder: (folder / "model/model.safetensors").write_bytes(b"others"),
    "lineage.json": lambda folder: (folder / "lineage.json").unlink(),
    "model/more.py": lambda folder: (folder / "model/more.py").write_text("", encoding="utf-8"),
}


@pytest.mark.parametrize("name", ALTERED)
def test_what_was_altered_is_named(files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    public = write_keys(tmp_path, monkeypatch)
    signature = signed(files, public)
    ALTERED[name](files)
    assert signing.fault(signature, files, public) == f"these files are not those that were signed: {name}"


def test_another_key_no_signature_and_one_that_was_altered(
    files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    public = write_keys(tmp_path / "ours", monkeypatch)
    signature = signed(files, public)
    other = write_keys(tmp_path / "theirs", monkeypatch)
    assert "was not made with the private key of" in signing.fault(signature, files, other)
    assert "is not signed; `tracer register` signs it" in signing.fault(None, files, public)
    bundle = json.loads(signature)
    payload = signing.base64.b64decode(bundle["dsseEnvelope"]["payload"]).replace(b"tracer-planner", b"tracer-plannes")
    bundle["dsseEnvelope"]["payload"] = signing.base64.b64encode(payload).decode()
    assert "or was altered" in signing.fault(json.dumps(bundle), files, public)
    for broken in ("{", "[]", '{"dsseEnvelope": 3}', '{"dsseEnvelope": {"payload": "?", "signatures": []}}'):
        assert "cannot be read" in signing.fault(broken, files, public)


@pytest.mark.parametrize("curve", [ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1()], ids=lambda curve: curve.name)
def test_the_curves_of_the_format(
    files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, curve: ec.EllipticCurve
) -> None:
    signed(files, write_keys(tmp_path, monkeypatch, curve))


def test_a_key_with_a_password_and_keys_that_are_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delenv(signing.KEY, raising=False)
    assert signing.private_key() is None
    public, file = write_keys(tmp_path, monkeypatch), tmp_path / "key.pem"
    key, pkcs8 = ec.generate_private_key(ec.SECP256R1()), PrivateFormat.PKCS8
    file.write_bytes(key.private_bytes(Encoding.PEM, pkcs8, BestAvailableEncryption(b"open")))
    with pytest.raises(ConfigError, match="cannot be read as a private key"):
        signing.private_key()
    monkeypatch.setenv(signing.PASSWORD, "open")
    assert signing.private_key() is not None
    monkeypatch.delenv(signing.PASSWORD)
    unfit = (ed25519.Ed25519PrivateKey.generate(), ec.generate_private_key(ec.SECP256K1()))
    for each in unfit:
        file.write_bytes(each.private_bytes(Encoding.PEM, pkcs8, NoEncryption()))
        with pytest.raises(ConfigError, match="no key on the curve"):
            signing.private_key()
    file.write_bytes(key.private_bytes(Encoding.PEM, pkcs8, NoEncryption()))
    for mode, warned in ((0o600, False), (0o440, False), (0o644, True), (0o620, True)):
        caplog.clear()
        file.chmod(mode)
        assert signing.private_key() is not None
        assert ("chmod 600" in caplog.text) == warned
    monkeypatch.setenv(signing.KEY, str(tmp_path))
    with pytest.raises(ConfigError, match="Is a directory"):
        signing.private_key()
    monkeypatch.setenv(signing.KEY, str(file))
    file.unlink()
    with pytest.raises(ConfigError, match=r"key\.pem"):
        signing.private_key()
    for content in (b"", public.read_bytes().replace(b"PUBLIC", b"GARDEN")):
        public.write_bytes(content)
        with pytest.raises(ConfigError, match=r"public_key: .*key\.pub"):
            signing.fault("{}", tmp_path, public)


def test_a_policy_that_asks_for_signatures_names_the_key() -> None:
    rules = {"confidence": 0.95, "resamples": 100, "primary": {
        "name": "success", "evaluation": "evaluate", "item": ["task"], "cluster": "task", "metric": "success"
    }}  # fmt: skip
    assert policy.Policy.model_validate(rules).signature == "none"
    for wrong in ({"signature": "required"}, {"public_key": "key.pub"}):
        with pytest.raises(ValueError, match="needs a `public_key`"):
            policy.Policy.model_validate({**rules, **wrong})
    assert policy.Policy.model_validate({**rules, "signature": "required", "public_key": "key.pub"}).public_key
