"""Split archives as the real `zip -s` writes them: AgentNet's pictures come in such a one."""

import random
import shutil
import subprocess

import pytest

from tracer.sources.zips import Zip


@pytest.mark.skipif(shutil.which("zip") is None, reason="needs the command zip")
def test_an_archive_that_zip_split_is_read(tmp_path):
    (tmp_path / "in").mkdir()
    draw = random.Random(5)
    files = {f"{number}.png": draw.randbytes(20_000 + 9_000 * number) for number in range(6)}
    for name, data in files.items():
        (tmp_path / "in" / name).write_bytes(data)
    command = ["zip", "-q", "-s", "64k", "-r", "../images.zip", "."]
    subprocess.run(command, cwd=tmp_path / "in", check=True)
    assert (tmp_path / "images.z03").is_file()
    archive = Zip(tmp_path / "images.zip")
    assert {name: archive.read(name) for name in sorted(archive.members)} == files
