"""What a planner is shown online is what was recorded: the same goals, elements and histories, step by step."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tracer.environments.browser import Browser
from tracer.environments.miniwob_world import MiniWobWorld
from tracer.environments.pages import LONGEST
from tracer.environments.replay import replay
from tracer.sources import jsonl
from tracer.trajectory import Trajectory

pytestmark = pytest.mark.browser
RAW = Path("data/raw")


def first_of_each_page() -> list[Trajectory]:
    first: dict[str, Trajectory] = {}
    for item in jsonl.read(RAW):
        if isinstance(item, Trajectory) and item.split in ("test", "heldout"):
            first.setdefault(item.task, item)
    return list(first.values())


@pytest.mark.skipif(not RAW.is_dir(), reason="the sample data is not there; `make data` pulls it")
def test_a_recorded_episode_played_again_meets_its_states_and_ends_the_same() -> None:
    episodes = first_of_each_page()
    assert len(episodes) == 25
    with Browser() as browser:
        for episode in episodes:
            assert replay(browser, episode) == ""


@pytest.mark.skipif(not RAW.is_dir(), reason="the sample data is not there; `make data` pulls it")
@pytest.mark.parametrize("fonts", ["/usr/share/fonts", "/nonexistent"])
def test_neither_the_machines_fonts_nor_the_users_settings_change_what_is_shown(
    fonts: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A user's fontconfig that prefers Liberation and Noto to DejaVu, or a machine without any font.
    settings = tmp_path / "fontconfig" / "fonts.conf"
    settings.parent.mkdir()
    settings.write_text(
        f"""<fontconfig><dir>{fonts}</dir><cachedir>{tmp_path}/cache</cachedir><alias binding="strong">
        <family>sans-serif</family><prefer><family>Liberation Serif</family><family>Noto Serif</family></prefer></alias>
        </fontconfig>""",
        encoding="utf-8",
    )
    for name, value in {
        "FONTCONFIG_FILE": settings, "XDG_CONFIG_HOME": tmp_path, "HOME": tmp_path, "TZ": "Asia/Tokyo",
        "LANG": "de_DE.UTF-8",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, str(value))
    episode = next(item for item in first_of_each_page() if item.task == "login-user-popup")
    with Browser() as browser:
        assert replay(browser, episode) == ""
        assert "goal is" in replay(browser, replace(episode, goal="Something else."))


@pytest.mark.skipif(not RAW.is_dir(), reason="the sample data is not there; `make data` pulls it")
def test_the_longest_demonstration_of_every_page_is_the_one_that_limits_its_episodes() -> None:
    longest: dict[str, int] = {}
    for item in jsonl.read(RAW):
        assert isinstance(item, Trajectory)
        longest[item.task] = max(len(item.steps), longest.get(item.task, 0))
    assert longest == LONGEST
    world = MiniWobWorld()
    assert [world.max_steps(page) for page in ("order-food", "read-table", "click-button")] == [35, 12, 20]
