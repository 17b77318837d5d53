"""What an adapter read, written in our own format, is read again as it was."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pytest

from tests.episodes import sample, write_raw
from tests.sources.writers import agentnet, agenttrek, android_control, gui_odyssey, mind2web, mm_traj
from tracer.sources import jsonl
from tracer.sources.recording import Recording
from tracer.sources.source import source
from tracer.trajectory import Trajectory

OPTIONS = {"agenttrek": {"text_only": True}, "mind2web": {"elements": True}}


@pytest.mark.parametrize("writer", [agentnet, agenttrek, android_control, gui_odyssey, mind2web, mm_traj])
def test_every_source_can_be_kept_in_our_format(writer: ModuleType, tmp_path: Path) -> None:
    name = writer.__name__.rpartition(".")[2]
    writer.write(tmp_path / "raw")
    read = source(name).read(tmp_path / "raw", **OPTIONS.get(name, {}))
    kept(tmp_path, [each for each in read if isinstance(each, Trajectory)])


def test_so_can_our_own(tmp_path: Path) -> None:
    kept(tmp_path, [each for each in jsonl.read(write_raw(tmp_path / "raw", sample())) if isinstance(each, Trajectory)])


def kept(folder: Path, trajectories: list[Trajectory]) -> None:
    assert trajectories
    for split in {each.split for each in trajectories}:
        own = [each for each in trajectories if each.split == split]
        with Recording(folder / "written" / split) as recording:
            for each in own:
                recording.add(each)
        assert list(jsonl.read(folder / "written" / split)) == own
    assert not list(folder.glob("written/*/.*")), "no half-written file is left"


def test_a_recording_that_fails_leaves_no_file_that_can_be_read(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="stop"), Recording(tmp_path):
        raise ValueError("stop")
    assert not list(tmp_path.glob("*.jsonl"))
