"""Keys that versions are signed with, made anew by each test."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from tracer.registry import signing


def write_keys(folder: Path, monkeypatch: pytest.MonkeyPatch, curve: ec.EllipticCurve | None = None) -> Path:
    """Write a pair of keys; the environment names the private one. Returns the public one's file."""
    folder.mkdir(parents=True, exist_ok=True)
    key = ec.generate_private_key(curve or ec.SECP256R1())
    private, public = folder / "key.pem", folder / "key.pub"
    private.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    public.write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    monkeypatch.setenv(signing.KEY, str(private))
    return public
