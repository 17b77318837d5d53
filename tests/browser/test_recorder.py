"""What a person does on a page, recorded and done again: kinds of interaction, secrets, kills, pages that changed."""

from __future__ import annotations

import itertools
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import miniwob
import pytest

from tests.browser.served import SITE, served
from tests.services import free_port
from tracer import cli
from tracer.action import Action
from tracer.environments.address import NoPage, page_address
from tracer.environments.browser import Browser, parsed_size
from tracer.environments.demonstration import (
    SIZE,
    Episode,
    NoDisplay,
    Replayed,
    listen,
    misspelt,
    record,
    redo,
)
from tracer.environments.privacy import MASK
from tracer.environments.recorder import STOP, Recorder
from tracer.environments.script import LINES, script
from tracer.ingestion.ingest import check
from tracer.ingestion.settings import DataConfig
from tracer.settings import ConfigError
from tracer.sources import jsonl
from tracer.trajectory import Element, Step, Trajectory

pytestmark = pytest.mark.browser
Drive = Callable[[Any], Awaitable[None]]
LATER = Action.of("key", key="Enter")


@pytest.fixture(scope="module")
def site() -> Iterator[str]:
    with served() as address:
        yield address


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with Browser() as opened:
        yield opened


def read(path: Path) -> Trajectory:
    (episode,) = jsonl.read(path)
    assert isinstance(episode, Trajectory), episode
    return episode


def demonstrated(
    browser: Browser, url: str, out: Path, drive: Callable[[Recorder], Awaitable[None]], private: str = ""
) -> Trajectory:
    """The episode of a demonstration in a browser that is open."""
    episode = Episode(url, "Try it.", out, "train", "kinds")
    browser.run(listen(browser, url, episode, private, SIZE, drive))
    return read(episode.path)


def by_hand(drive: Drive) -> Callable[[Recorder], Awaitable[None]]:
    async def run(recorder: Recorder) -> None:
        await drive(recorder.tab)
        await recorder.settled()

    return run


def again(steps: tuple[Step, ...], problems: list[str]) -> Callable[[Recorder], Awaitable[None]]:
    async def run(recorder: Recorder) -> None:
        for step in steps:
            problem, other = await redo(recorder, step)
            problems[len(problems) :] = [problem] * bool(problem) + [f"{step.instruction}: other elements"] * other

    return run


async def pause(tab: Any) -> None:
    """As long as a person needs between two steps."""
    await tab.wait_for_timeout(250)


async def clicks(tab: Any, *selectors: str, **more: Any) -> None:
    for selector in selectors:
        box = await tab.locator(selector).bounding_box()
        await tab.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2, **more)
        await pause(tab)


async def names(tab: Any, selector: str) -> None:
    """A click on a field's label, which gives it the focus."""
    box = await tab.locator(f"label:has({selector}), label[for={selector[1:]}]").bounding_box()
    await tab.mouse.click(box["x"] + 8, box["y"] + box["height"] / 2)
    await pause(tab)


async def drags(tab: Any, start: str, end: str) -> None:
    boxes = [await tab.locator(each).bounding_box() for each in (start, end)]
    points = [(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2) for box in boxes]
    await tab.mouse.move(*points[0])
    await tab.mouse.down()
    await tab.mouse.move(*points[1], steps=8)
    await tab.mouse.up()
    await pause(tab)


async def presses(tab: Any, *keys: str) -> None:
    for key in keys:
        await tab.keyboard.press(key)
        await pause(tab)


async def types(tab: Any, selector: str, text: str) -> None:
    await clicks(tab, selector)
    await tab.keyboard.type(text, delay=20)
    await pause(tab)


async def wheels(tab: Any, selector: str, *deltas: int) -> None:
    box = await tab.locator(selector).bounding_box()
    await tab.mouse.move(box["x"] + 20, box["y"] + 20)
    for delta in deltas:
        await tab.mouse.wheel(0, delta)
        await tab.wait_for_timeout(30)
    await tab.wait_for_timeout(700)


async def link(tab: Any) -> None:
    await clicks(tab, "text=Other page")
    await tab.wait_for_url("**/other.html")
    await pause(tab)


async def back(tab: Any) -> None:
    await link(tab)
    await tab.go_back()
    await pause(tab)


async def corrected(tab: Any) -> None:
    await types(tab, "#text", "kaz")
    await tab.keyboard.press("Backspace")
    await tab.keyboard.type("le", delay=20)
    await pause(tab)


async def copied(tab: Any) -> None:
    await types(tab, "#text", "green")
    await presses(tab, "Control+a", "Control+c")
    await clicks(tab, "#query")
    await presses(tab, "Control+v")


async def chosen_by_mouse(tab: Any) -> None:
    await clicks(tab, "#select")
    await presses(tab, "ArrowDown", "ArrowDown", "Enter")


async def marked(tab: Any) -> None:
    await types(tab, "#text", "green tea")
    await presses(tab, "Shift+Home", "Delete")


KINDS: dict[str, tuple[Drive, tuple[str, ...], str]] = {
    # what is done, the actions that it has to be, and what the page says afterwards
    "button": (lambda tab: clicks(tab, "#button"), ("click",), "button clicked"),
    "double click": (lambda tab: clicks(tab, "#button", click_count=2), ("double_click",), "button double-clicked"),
    "right click": (lambda tab: clicks(tab, "#button", button="right"), ("right_click",), "button menu"),
    "middle click": (lambda tab: clicks(tab, "#button", button="middle"), ("middle_click",), "button middle"),
    "anchor": (lambda tab: clicks(tab, "#anchor"), ("click",), ""),
    "checkbox": (lambda tab: clicks(tab, "#check"), ("click",), "check true"),
    "radio": (lambda tab: clicks(tab, "[value=large]"), ("click",), "radio large"),
    "drop-down list": (chosen_by_mouse, ("click", "select"), "select Dark blue"),
    "drop-down list by keys": (
        lambda tab: _then(names(tab, "#select"), presses(tab, "ArrowDown")), ("click", "select"), "select Green",
    ),
    "list of many": (lambda tab: clicks(tab, "#many option:nth-child(2)"), ("click",), "many Coffee"),
    "text field": (lambda tab: types(tab, "#text", "kale & tea"), ("click", "type"), "text focused"),
    "corrected text": (corrected, ("click", "type"), ""),
    "text area": (
        lambda tab: _then(types(tab, "#area", "one"), presses(tab, "Enter"), tab.keyboard.type("two")),
        ("click", "type", "key", "type"), "",
    ),
    "editable text": (lambda tab: types(tab, "#edit", " hello"), ("click", "type"), "hello"),
    "date": (
        lambda tab: _then(names(tab, "#date"), tab.keyboard.type("12312026", delay=20)),
        ("click", "type"), "date 2026-12-31",
    ),
    "number": (lambda tab: _then(types(tab, "#number", "23"), presses(tab, "Tab")), ("click", "type", "key"), "number"),
    "slider": (lambda tab: _then(names(tab, "#range"), presses(tab, "ArrowRight")), ("click", "key"), "range 6"),
    "scrolling the page": (lambda tab: wheels(tab, "#button", 120, 120), ("scroll",), ""),
    "scrolling back": (lambda tab: wheels(tab, "#button", 200, -120), ("scroll", "scroll"), ""),
    "scrolling a box": (lambda tab: wheels(tab, "#box", 60), ("scroll",), ""),
    "drag": (lambda tab: drags(tab, "#card", "#zone"), ("drag",), "card over zone"),
    "drag and drop": (lambda tab: drags(tab, "#source", "#drop"), ("drag",), "parcel dropped"),
    "Enter": (
        lambda tab: _then(types(tab, "#query", "tea"), presses(tab, "Enter")), ("click", "type", "key"), "search tea",
    ),
    "Tab": (
        lambda tab: _then(clicks(tab, "#check"), presses(tab, "Tab", "Space")), ("click", "key", "key"), "radio small",
    ),
    "Escape": (lambda tab: presses(tab, "Escape"), ("key",), "escape"),
    "shortcut": (lambda tab: presses(tab, "Control+k", "j"), ("key", "key"), "next"),
    "selection by keys": (marked, ("click", "type", "key", "key"), ""),
    "copy and paste": (copied, ("click", "type", "key", "key", "click", "key"), ""),
    "page keys": (lambda tab: presses(tab, "PageDown"), ("key",), ""),
    "link": (link, ("click",), ""),
    "link to a new window": (lambda tab: _then(clicks(tab, "text=New window"), pause(tab)), ("click",), ""),
    "back": (back, ("click", "navigate_back"), ""),
    "frame": (
        lambda tab: _then(_inside(tab, "button"), _inside(tab, "input"), tab.keyboard.type("abc", delay=20)),
        ("click", "click", "type"), "inner abc",
    ),
    "shadow": (lambda tab: clicks(tab, "#shadow button"), ("click",), "shadow clicked"),
}  # fmt: skip


async def _then(*calls: Awaitable[Any]) -> None:
    for call in calls:
        await call


async def _inside(tab: Any, selector: str) -> None:
    box = await tab.frame_locator("#frame").locator(selector).bounding_box()
    await tab.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    await pause(tab)


OFTEN = {
    "button", "double click", "radio", "drop-down list", "text field", "text area", "editable text",
    "scrolling the page", "drag", "Enter", "shortcut", "link", "back", "frame",
}  # fmt: skip


@pytest.mark.parametrize(
    "kind", [pytest.param(kind, marks=() if kind in OFTEN else pytest.mark.slow) for kind in KINDS]
)
def test_every_kind_of_interaction_is_recorded_and_done_again(
    kind: str, browser: Browser, site: str, tmp_path: Path
) -> None:
    drive, expected, said = KINDS[kind]
    ends: list[str] = []

    async def watched(recorder: Recorder, run: Callable[[Recorder], Awaitable[None]]) -> None:
        await run(recorder)
        await recorder.settled()
        text = await recorder.tab.evaluate("[location.pathname, scrollY, document.body.innerText].join('\\n')")
        ends.append(
            text
            + "\n".join(
                await recorder.tab.evaluate(
                    "[...document.querySelectorAll('input, textarea, select')].map((e) => e.value)"
                )
            )
        )

    first = demonstrated(
        browser, site + "kinds.html", tmp_path / "a", lambda recorder: watched(recorder, by_hand(drive))
    )
    assert tuple(step.action.type for step in first.steps) == expected
    problems: list[str] = []
    second = demonstrated(
        browser, site + "kinds.html", tmp_path / "b", lambda recorder: watched(recorder, again(first.steps, problems))
    )
    assert problems == []
    assert [_told(step) for step in second.steps] == [_told(step) for step in first.steps]
    assert ends[0] == ends[1]
    assert said in ends[0]
    changed = [step for before, step in itertools.pairwise(first.steps) if step.elements != before.elements]
    assert len({step.image for step in changed}) == len(changed)  # each its own screen


def _told(step: Step) -> tuple[object, ...]:
    amount = step.action.get("amount")
    point = tuple(round(each, 3) for name, each in step.action.arguments if name in ("x", "y", "to_x", "to_y"))
    rest = [pair for pair in step.action.arguments if pair[0] not in ("x", "y", "to_x", "to_y", "amount")]
    return step.action.type, rest, point, amount and round(amount, 3), step.elements


KEYLESS = ("Zoë", "Иван 🫖日本", f"{'x' * 39}🫖!", " שלום e\u0301")


async def enters_without_keys(tab: Any) -> None:
    await types(tab, "#text", "Zoëx")
    await presses(tab, "Backspace")
    await types(tab, "#query", "Иван 🫖")
    cdp = await tab.context.new_cdp_session(tab)
    await cdp.send("Input.imeSetComposition", {"text": "に", "selectionStart": 1, "selectionEnd": 1})
    await tab.keyboard.insert_text("日本")  # what an input method, dictation or a list of emoji does
    await clicks(tab, "#area")
    await tab.keyboard.insert_text(KEYLESS[2])  # longer than an element's value is told
    await clicks(tab, "#edit")
    await tab.keyboard.insert_text(KEYLESS[3])


def test_a_text_that_comes_without_keys_is_recorded_from_its_field(browser: Browser, site: str, tmp_path: Path) -> None:
    url, notes = site + "kinds.html", list[str]()

    async def hand(recorder: Recorder) -> None:
        await by_hand(enters_without_keys)(recorder)
        await recorder.tab.evaluate("__tracerRecorder.finish()")
        await pause(recorder.tab)
        notes.extend(recorder.notes)

    first = demonstrated(browser, url, tmp_path / "a", hand)
    assert tuple(step.action.get("text") for step in first.steps if step.action.type == "type") == KEYLESS
    problems: list[str] = []
    second = demonstrated(browser, url, tmp_path / "b", again(first.steps, problems))
    assert (notes, problems) == ([], [])
    assert [_told(step) for step in second.steps] == [_told(step) for step in first.steps]


async def is_changed_by_the_page(tab: Any) -> None:
    await tab.evaluate("text.value = '12'; text.addEventListener('input', () => { text.value = 'X' })")
    await clicks(tab, "#text")
    await tab.keyboard.insert_text("é")
    await clicks(tab, "#query")


async def is_cut_by_a_menu(tab: Any) -> None:
    await types(tab, "#text", "tea")
    await clicks(tab, "#query", "#text")
    await tab.evaluate("text.select(); document.execCommand('delete')")


@pytest.mark.parametrize(("drive", "note"), [(is_changed_by_the_page, "in the end"), (is_cut_by_a_menu, "changed")])
@pytest.mark.slow
def test_a_value_that_no_recorded_text_makes_is_said(
    drive: Drive, note: str, browser: Browser, site: str, tmp_path: Path
) -> None:
    episode = Episode(site + "kinds.html", "Try it.", tmp_path, "train", "kinds")
    _, notes = browser.run(listen(browser, site + "kinds.html", episode, "", SIZE, by_hand(drive)))
    assert len(notes) == 1 and note in notes[0]


def test_a_replay_whose_screens_differ_is_not_plainly_valid() -> None:
    assert str(Replayed(id="a", steps=4)) == "a: valid, 4 steps"
    assert "valid" not in str(Replayed(id="a", steps=4, changed=(4,)))

    def field(value: str) -> Element:
        return Element(role="input:text", text="Name", box=(0.0, 0.0, 1.0, 1.0), value=value, state="focused")

    step = Step(action=LATER, instruction="click", elements=(field("Zo"),))
    assert misspelt(step, (field("Zo"),)) == ""
    assert misspelt(step, (field("Zoë"),)).startswith("input:text \"Name\" holds 'Zoë', and held 'Zo'")


def test_what_cannot_be_recorded_is_refused_before_it_begins(
    browser: Browser, site: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def opened(url: str, private: str = "") -> None:
        browser.run(listen(browser, url, Episode(url, "Try it.", tmp_path, "train", ""), private, SIZE, again((), [])))

    for url, reason in (
        (f"http://127.0.0.1:{free_port()}/", "ERR_CONNECTION_REFUSED"), ("http://127.0.0.1:1/", "ERR_UNSAFE_PORT"),
        (site + "absent.html", "status 404"),
    ):  # fmt: skip
        with pytest.raises(NoPage, match=f"^{re.escape(url)} .*{reason}"):
            opened(url)
    with pytest.raises(ConfigError, match=r"--private: '\[\[' is no CSS selector"):
        opened(site + "kinds.html", "[[")
    for size in ("10x10", "1280", "99x720"):
        with pytest.raises(ConfigError, match="at least 100x100"):
            parsed_size(size)
    assert cli.main(["record", "--url", "a.example", "--pages", "base"]) == 2
    assert "--pages goes with neither" in capsys.readouterr().err
    assert cli.main(["record", "--help"]) == 0 and STOP in capsys.readouterr().out
    assert not list(tmp_path.iterdir())


def test_an_address_may_lack_its_scheme() -> None:
    for url in ("127.0.0.1:8000", "localhost", "shop:8000/tea?x=1", "shop.example/a", "[::1]:80"):
        assert page_address(url) == f"http://{url}"
    assert page_address("https://a/b") == "https://a/b"
    names = {
        Episode(page_address(url), "", Path(), "train", "").path.name.split("-")[0] for url in ("a.b", "http://a.b")
    }
    assert names == {"a.b"}
    for url in ("javascript:1", "data:text/html,x", "file:///etc/passwd", "http://", "shop"):
        with pytest.raises(ConfigError, match="no address"):
            page_address(url)


def test_a_script_is_read_before_anything_is_opened(tmp_path: Path) -> None:
    path = tmp_path / "steps.txt"
    path.write_text("# all of them\n" + "\n".join(LINES.values()), encoding="utf-8")
    script(path)
    tutorial = (Path(__file__).parents[2] / "docs/tutorial.md").read_text(encoding="utf-8")
    assert not [kind for kind in LINES if f"`{kind}`" not in tutorial]
    for line, wrong in (("tap 3", "no action 'tap'; write one of: click"), ("type Anna", "should look like 'type \"so"),
                        ("scroll", "should look like"), ("wait long", "should look like 'wait 2'")):  # fmt: skip
        path.write_text(f"\n{line}\n", encoding="utf-8")
        with pytest.raises(ConfigError, match=f"steps.txt, line 2: .*{wrong}"):
            script(path)


async def goal(tab: Any) -> str:
    """What a page of MiniWoB++ asks for, once its task has begun."""
    await clicks(tab, "#sync-task-cover")
    return str(await tab.locator("#query").inner_text())


async def enters_a_text(tab: Any) -> None:
    await types(tab, "#tt", (await goal(tab)).split('"')[1])
    await clicks(tab, "#subbtn")


async def enters_a_date(tab: Any) -> None:
    (date,) = re.findall(r"\d+/\d+/\d+", await goal(tab))
    box = await tab.locator("#tt").bounding_box()
    await tab.mouse.click(box["x"] + 8, box["y"] + box["height"] / 2)  # the month
    await tab.keyboard.type(date.replace("/", ""), delay=20)
    await pause(tab)
    await clicks(tab, "#subbtn")


async def ticks_boxes(tab: Any) -> None:
    wanted = (await goal(tab)).removeprefix("Select ").removesuffix(" and click Submit.").split(", ")
    await clicks(tab, *(f"label:has-text('{each}') input" for each in wanted), "#subbtn")


async def chooses_from_a_list(tab: Any) -> None:
    wanted = (await goal(tab)).removeprefix("Select ").removesuffix(" from the list and click Submit.")
    texts = await tab.locator("option").all_inner_texts()
    await clicks(tab, "#options")
    await presses(tab, *["ArrowDown"] * texts.index(wanted), "Enter")
    await clicks(tab, "button")


async def follows_a_link(tab: Any) -> None:
    wanted = (await goal(tab)).split('"')[1]
    await clicks(tab, f".alink >> text='{wanted}'")


@pytest.fixture(scope="module")
def tasks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """MiniWoB++'s pages, each with the same task whenever it is opened, and with time for a person."""
    html, folder = Path(miniwob.__file__).parent / "html", tmp_path_factory.mktemp("miniwob")
    for name in ("core", "common"):
        (folder / name).symlink_to(html / name)
    (folder / "miniwob").mkdir()
    core = '<script src="../core/core.js"></script>'
    for page in MINIWOB:
        text = (html / "miniwob" / f"{page}.html").read_text(encoding="utf-8")
        assert core in text
        seeded = f"{core}<script>Math.seedrandom('7'); core.EPISODE_MAX_TIME = 1e9;</script>"
        (folder / "miniwob" / f"{page}.html").write_text(text.replace(core, seeded), encoding="utf-8")
    with served(folder) as address:
        yield f"{address}miniwob/"


MINIWOB = {
    "enter-text": enters_a_text,
    "enter-date": enters_a_date,
    "click-checkboxes": ticks_boxes,
    "choose-list": chooses_from_a_list,
    "click-link": follows_a_link,
}


@pytest.mark.slow
@pytest.mark.parametrize("page", MINIWOB)
def test_a_demonstration_on_miniwobs_pages_is_solved_when_it_is_done_again(
    page: str, browser: Browser, tasks: str, tmp_path: Path
) -> None:
    rewards: list[float] = []

    def solving(run: Callable[[Recorder], Awaitable[None]]) -> Callable[[Recorder], Awaitable[None]]:
        async def watched(recorder: Recorder) -> None:
            await run(recorder)
            rewards.append(await recorder.tab.evaluate("WOB_RAW_REWARD_GLOBAL"))

        return watched

    url = f"{tasks}{page}.html"
    first = demonstrated(browser, url, tmp_path / "a", solving(by_hand(MINIWOB[page])))
    problems: list[str] = []
    second = demonstrated(browser, url, tmp_path / "b", solving(again(first.steps, problems)))
    assert problems == [] and rewards == [1.0, 1.0]
    assert [_told(step) for step in second.steps] == [_told(step) for step in first.steps]


SECRETS = ("Tr0ub4dor", "4111222233334444", "730915", "8127", "Pumpkin")


async def logs_in(tab: Any) -> None:
    await types(tab, "#user", "annaline")
    await types(tab, "#password", SECRETS[0])
    await clicks(tab, "#show")
    await types(tab, "#card", SECRETS[1])
    await types(tab, "#code", SECRETS[2])
    await types(tab, "#nick", SECRETS[4])
    await wheels(tab, "#login", 40)
    await clicks(tab, "#login", "#echo", "#user")


def test_what_is_private_is_neither_in_texts_nor_in_pixels(browser: Browser, site: str, tmp_path: Path) -> None:
    ocr = pytest.importorskip("rapidocr_onnxruntime", reason="the extra `ocr` is not installed")
    assert ocr
    from tracer.tools.ocr import OcrLocator

    episode = Episode(site + "login.html", f"Log in as annaline with {SECRETS[0]}.", tmp_path, "train", "login")
    browser.run(listen(browser, site + "login.html", episode, ".own", SIZE, by_hand(logs_in)))
    written = b"".join(path.read_bytes() for path in tmp_path.rglob("*.*") if path.suffix != ".webp")
    assert b"annaline" in written
    assert not [secret for secret in SECRETS if secret.encode() in written]
    found = read(episode.path)
    assert found.goal == f"Log in as annaline with {MASK}."
    typed = [step.action.get("text") for step in found.steps if step.action.type == "type"]
    assert typed == ["annaline", MASK, MASK, MASK, MASK]
    values = {element.value for step in found.steps for element in step.elements or ()}
    assert values >= {"annaline", MASK} and not values & set(SECRETS)
    assert any(MASK in element.text for element in found.steps[-1].elements or ())  # the page that repeats it
    reader = OcrLocator()
    pixels = {step.image for step in (*found.steps[3:5], *found.steps[-2:]) if step.image}
    read_texts = " ".join(line.text for image in pixels for line in reader.read(image)).replace(" ", "")
    assert "annaline" in read_texts and "Password" in read_texts  # it does read
    assert not [secret for secret in SECRETS if secret[:5].lower() in read_texts.lower()]


async def buys(tab: Any) -> None:
    await clicks(tab, "#check", "#button")
    await types(tab, "#query", "tea")


def test_a_recording_tells_the_first_step_that_its_page_has_no_more(browser: Browser, tmp_path: Path) -> None:
    page = tmp_path / "site" / "shop.html"
    page.parent.mkdir()
    page.write_text((SITE / "kinds.html").read_text(encoding="utf-8"), encoding="utf-8")
    with served(page.parent) as address:
        episode = Episode(address + "shop.html", "Buy it.", tmp_path / "out", "train", "shop")
        browser.run(listen(browser, address + "shop.html", episode, "", SIZE, by_hand(buys)))
        page.write_text(
            page.read_text(encoding="utf-8").replace('id="button">Press<', 'id="button">Order<'), encoding="utf-8"
        )
        (found,) = typed(tmp_path, "--replay", str(episode.path), "--json", code=1)
    assert found["problem"].startswith('Step 2 of 4, click the button "Press": button "Order" is where it was')
    assert "nowhere on the screen" in found["problem"]


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "tracer", "record", *arguments]


def typed(folder: Path, *arguments: str, code: int = 0) -> Any:
    done = subprocess.run(command(*arguments), cwd=folder, capture_output=True, encoding="utf-8")
    assert done.returncode == code, done.stderr
    return json.loads(done.stdout) if "--json" in arguments else done.stdout + done.stderr


def test_the_command_records_a_script_and_does_it_again(site: str, tmp_path: Path) -> None:
    (tmp_path / "steps.txt").write_text(
        '# two steps, and a list\nclick input:text "Name"\ntype "kale"\nclick select "Colour"\nselect "Green"\n',
        encoding="utf-8",
    )
    given = ("--url", site + "kinds.html", "--goal", "Type kale.", "--script", "steps.txt", "--task", "kinds", "--json")
    found = typed(tmp_path, *given)
    episode = read(tmp_path / found["path"])
    assert [step.instruction for step in episode.steps] == [
        'click the input:text "Name"', 'type "kale"', 'click the select "Colour"', 'select "Green"'
    ]  # fmt: skip
    assert (episode.outcome, episode.goal, episode.task, found["notes"]) == ("success", "Type kale.", "kinds", [])
    checked = check(DataConfig(source="jsonl", path=str(tmp_path / "my-episodes"), pointer=""))
    assert (checked["trajectories"], checked["rejected"]) == (1, 0)
    assert "valid, 4 steps" in typed(tmp_path, "--replay", found["path"])
    before = {path: path.read_bytes() for path in (tmp_path / "my-episodes").rglob("*.*")}
    (tmp_path / "steps.txt").write_text('click button "Press"\nclick button "Fly"\n', encoding="utf-8")
    assert "line 2: 'click button \"Fly\"' is not on the screen, which shows: button" in typed(
        tmp_path, *given[:-1], code=1
    )
    assert {path: path.read_bytes() for path in (tmp_path / "my-episodes").rglob("*.*")} == before  # nothing is kept


def test_without_a_display_a_person_is_told_what_to_do(
    site: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(NoDisplay, match="--script FILE"):
        record(site + "kinds.html", "Try it.", tmp_path)


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGKILL, -9)])
def test_a_killed_recording_keeps_the_steps_that_were_whole(sent: int, code: int, site: str, tmp_path: Path) -> None:
    lines = ['click input:text "Name"', 'type "kale"', "wait 600"]
    (tmp_path / "steps.txt").write_text("\n".join(lines), encoding="utf-8")
    given = command("--url", site + "kinds.html", "--goal", "Type kale.", "--script", "steps.txt", "--task", "kinds")
    # A shell's background job has Ctrl-C ignored, and its children inherit that.
    process = subprocess.Popen(
        ["env", "--default-signal=INT", *given], cwd=tmp_path, stderr=subprocess.PIPE, start_new_session=True
    )
    until = time.monotonic() + 120
    while not (found := list(tmp_path.glob("my-episodes/train/*.jsonl"))) and time.monotonic() < until:
        time.sleep(0.2)
    time.sleep(3)
    os.killpg(process.pid, sent) if sent == signal.SIGINT else process.kill()  # Ctrl-C reaches the whole group
    said = process.communicate(timeout=60)[1].decode()
    assert process.returncode == code
    episode = read(found[0])
    assert episode.outcome == "unknown"
    whole = [step.instruction for step in episode.steps]
    assert whole and whole == ['click the input:text "Name"', 'type "kale"'][: len(whole)]
    if sent == signal.SIGINT:
        assert len(whole) == 2  # what was being typed is kept
        assert "tracer: interrupted; kept 2 steps, outcome unknown: my-episodes/train/" in said
        assert "checkpoint" not in said
        found_wrong = check(DataConfig(source="jsonl", path=str(tmp_path / "my-episodes"), pointer=""))["warnings"]
        assert any(episode.id in line and "without a known outcome" in line for line in found_wrong)
    assert not list(tmp_path.glob("my-episodes/train/.*"))
