"""Signed provenance: who registered a version vouches for its weights and its lineage with an elliptic key, offline.

A signature is a Sigstore bundle over an in-toto statement with the SHA-256 of every file, the format of OpenSSF's Model
Signing 1.0 (https://github.com/ossf/model-signing-spec): `model_signing verify key` verifies it too. It is a tag of the
version. The policy says whether one is required, and names the public key.
"""

from __future__ import annotations

import base64
import hashlib
import json
import logging
import os
import stat
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from tracer.lineage.digest import file_digest
from tracer.settings import ConfigError

log = logging.getLogger(__name__)
SIGNATURE = "tracer.signature"
"""The tag of a version."""
KEY, PASSWORD = "TRACER_SIGNING_KEY", "TRACER_SIGNING_KEY_PASSWORD"  # pragma: allowlist secret
"""The variables that name the private key's file, and its password where it has one."""
HASHES: Mapping[str, Callable[[], hashes.HashAlgorithm]] = {
    "secp256r1": hashes.SHA256,
    "secp384r1": hashes.SHA384,
    "secp521r1": hashes.SHA512,
}
"""By the curve of the key, as the format wants it."""
MEDIA = "application/vnd.dev.sigstore.bundle.v0.3+json"
PAYLOAD = "application/vnd.in-toto+json"
STATEMENT = "https://in-toto.io/Statement/v1"
PREDICATE = "https://model_signing/signature/v1.0"


def private_key() -> ec.EllipticCurvePrivateKey | None:
    """The key that the environment names, if it names one; raises ``ConfigError`` for one that cannot be used."""
    file = os.environ.get(KEY)
    if not file:
        return None
    password = os.environ.get(PASSWORD)
    try:
        key = load_pem_private_key(Path(file).read_bytes(), password.encode() if password else None)
        if Path(file).stat().st_mode & (stat.S_IWGRP | stat.S_IROTH | stat.S_IWOTH):  # a pod's group reads its Secrets
            log.warning("%s: others may read or replace %s, and sign as you: chmod 600 it", KEY, file)
    except (OSError, ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise ConfigError(
            f"{KEY}: {file} cannot be read as a private key in PEM, with the password of {PASSWORD} if it has one: "
            f"{error}"
        ) from error
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.curve.name not in HASHES:
        raise ConfigError(f"{KEY}: {file} is no key on the curve P-256, P-384 or P-521")
    return key


def sign(name: str, paths: Iterable[Path], key: ec.EllipticCurvePrivateKey) -> str:
    """The signature of files, and of folders with all in them, under the name of the model."""
    payload = json.dumps(_statement(name, digests(paths))).encode()
    signature = key.sign(_encoded(payload), ec.ECDSA(HASHES[key.curve.name]()))
    bundle = {
        "mediaType": MEDIA,
        "verificationMaterial": {"publicKey": {"hint": _hint(key.public_key())}, "tlogEntries": []},
        "dsseEnvelope": {
            "payload": base64.b64encode(payload).decode(),
            "payloadType": PAYLOAD,
            "signatures": [{"sig": base64.b64encode(signature).decode(), "keyid": ""}],
        },
    }
    return json.dumps(bundle)


def fault(signature: str | None, folder: Path, public_key: Path) -> str:
    """What is wrong with the signature of a folder's files; empty where nothing is. Raises ``ConfigError``."""
    try:
        key = load_pem_public_key(public_key.read_bytes())
    except (OSError, ValueError, UnsupportedAlgorithm) as error:
        raise ConfigError(f"public_key: {public_key} cannot be read as a public key in PEM: {error}") from error
    if not isinstance(key, ec.EllipticCurvePublicKey) or key.curve.name not in HASHES:
        raise ConfigError(f"public_key: {public_key} is no key on the curve P-256, P-384 or P-521")
    if not signature:
        return f"it is not signed; `tracer register` signs it where {KEY} names the private key"
    try:
        envelope = json.loads(signature)["dsseEnvelope"]
        payload = base64.b64decode(envelope["payload"])
        made = base64.b64decode(envelope["signatures"][0]["sig"])
        key.verify(made, _encoded(payload), ec.ECDSA(HASHES[key.curve.name]()))
        signed = _signed(json.loads(payload))
    except InvalidSignature:
        return f"its signature was not made with the private key of {public_key}, or was altered"
    except (ValueError, KeyError, IndexError, TypeError) as error:
        return f"its signature cannot be read: {type(error).__name__}: {error}"
    there = digests(folder.iterdir())
    wrong = sorted(name for name in signed.keys() | there.keys() if signed.get(name) != there.get(name))
    return f"these files are not those that were signed: {', '.join(wrong)}" if wrong else ""


def digests(paths: Iterable[Path]) -> dict[str, str]:
    """The SHA-256 of files, and of those in folders, by their names from the paths' own folders on."""
    return {
        file.relative_to(path.parent).as_posix(): file_digest(file)
        for path in paths
        for file in (path.rglob("*") if path.is_dir() else [path])
        if file.is_file()
    }


def _statement(name: str, found: Mapping[str, str]) -> dict[str, Any]:
    resources = [{"name": each, "algorithm": "sha256", "digest": found[each]} for each in sorted(found)]
    return {
        "_type": STATEMENT,
        "subject": [{"name": name, "digest": {"sha256": _root(resources)}}],
        "predicateType": PREDICATE,
        "predicate": {
            "serialization": {"method": "files", "hash_type": "sha256", "allow_symlinks": False},
            "resources": resources,
        },
    }


def _signed(statement: Mapping[str, Any]) -> dict[str, str]:
    """File to digest of a statement; raises ``ValueError``."""
    if (statement["_type"], statement["predicateType"]) != (STATEMENT, PREDICATE):
        raise ValueError(f"a statement of the kind {statement['predicateType']}")
    resources = statement["predicate"]["resources"]
    if statement["subject"][0]["digest"]["sha256"] != _root(resources):
        raise ValueError("its digest of the whole is not that of its files")
    return {each["name"]: each["digest"] for each in resources if each["algorithm"] == "sha256"}


def _root(resources: Iterable[Mapping[str, str]]) -> str:
    return hashlib.sha256(b"".join(bytes.fromhex(each["digest"]) for each in resources)).hexdigest()


def _encoded(payload: bytes) -> bytes:
    """What is signed: DSSE's pre-authentication encoding."""
    return b" ".join([b"DSSEv1", b"%d" % len(PAYLOAD), PAYLOAD.encode(), b"%d" % len(payload), payload])


def _hint(key: ec.EllipticCurvePublicKey) -> str:
    return hashlib.sha256(key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)).hexdigest()
