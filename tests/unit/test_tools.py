"""The frozen tool agents: what they find, and that they find nothing rather than something wrong."""

import io

import pytest
from PIL import Image, ImageDraw, ImageFont

from tests.forecasts import BOXES, SCREEN, click, elements, state, typing
from tests.planners import trajectories, write_base
from tracer.action import Action
from tracer.cli import main
from tracer.forecast import ForecastStep
from tracer.settings import ConfigError
from tracer.tools import load
from tracer.tools.elements import ElementLocator
from tracer.tools.ocr import Line, OcrLocator, find
from tracer.tools.own import OwnCoordinates
from tracer.tools.screen import state_of
from tracer.tools.settings import GroundingConfig
from tracer.tools.tool_agent import place, stated_place
from tracer.trajectory import centre, inside


def step(instruction: str, action: Action) -> ForecastStep:
    return ForecastStep(action=action, instruction=instruction)


@pytest.mark.parametrize("name", ["elements", "ocr", "own"])
def test_the_setting_names_the_agent(name):
    assert load(GroundingConfig(agent=name)).name == name


def test_the_locator_goes_where_the_instruction_says_and_ignores_the_coordinates():
    wrong = step('click the button "Two"', Action.of("click", x=0.99, y=0.99))
    grounded = ElementLocator().ground(state(), wrong)
    assert grounded == Action.of("click", x=centre(BOXES["Two"])[0], y=centre(BOXES["Two"])[1])


def test_the_locator_places_a_step_that_was_forecast_without_a_place():
    later = click("Send", shown=elements("One"))
    assert later.action.point is None
    assert inside(ElementLocator().ground(state(), later).point, BOXES["Send"])
    assert ElementLocator().ground(state(shown=elements("One")), later) is None
    assert ElementLocator().ground(state(shown=()), later) is None
    assert OwnCoordinates().ground(state(), later) is None


@pytest.mark.parametrize("agent", [ElementLocator(), OwnCoordinates(), OcrLocator()], ids=lambda agent: agent.name)
def test_what_needs_no_place_is_executed_as_it_is(agent):
    for each in (typing("karla"), step("press Enter", Action.of("key", key="Enter"))):
        assert agent.ground(state(), each) == each.action
    assert agent.ground(state(), step("type", Action("type"))) is None  # without its text


def test_own_coordinates_are_the_planners():
    wrong = step('click the button "Two"', Action.of("click", x=0.99, y=0.98))
    assert OwnCoordinates().ground(state(), wrong) == wrong.action


def test_a_drag_keeps_its_end_and_is_refused_without_one():
    drag = step('drag the button "One" to (900, 900)', Action.of("drag", x=0.5, y=0.5, to_x=0.9, to_y=0.9))
    grounded = ElementLocator().ground(state(), drag)
    assert (grounded.point, grounded.get("to_x")) == (centre(BOXES["One"]), 0.9)
    assert place(Action("drag"), (0.1, 0.1)) is None


@pytest.mark.parametrize(
    ("instruction", "point"),
    [
        ("click at (512, 80)", (0.512, 0.08)),
        ("hover over at (0, 1000)", (0.0, 1.0)),
        ("click at (1001, 3)", None),
        ('click the button "Meet at (5, 5)"', None),
        ('click the button "Send"', None),
    ],
)
def test_an_instruction_may_state_its_place(instruction, point):
    assert stated_place(instruction) == point


LINES = (
    Line("Find the star of Lena", (0.0, 0.0, 1.0, 0.1)),
    Line("Star", (0.1, 0.2, 0.2, 0.3)),
    Line("Stor", (0.1, 0.4, 0.2, 0.5)),
    Line("Username", (0.1, 0.6, 0.4, 0.7)),
)


@pytest.mark.parametrize(
    ("instruction", "index"),
    [
        ('click the span "Star"', 1),
        ('click the 1st span "Star"', 0),
        ('click the input "Usermame"', 3),
        ('click the span "nothing like it"', None),
        ('click the input ""', None),
        ("click somewhere", None),
    ],
)
def test_the_best_reading_wins_and_an_ordinal_counts_what_reads_alike(instruction, index):
    found = find(instruction, LINES)
    assert (found is None) == (index is None)
    if index is not None:
        assert inside(found, LINES[index].box)


def test_an_ordinal_beyond_what_was_read_finds_nothing():
    assert find('click the 9th span "Star"', LINES) is None


def test_a_part_of_a_line_is_found_at_its_place():
    x, _ = find('click the span "Lena"', LINES)
    assert x > 0.8


@pytest.fixture(scope="module")
def screen() -> bytes:
    """Two buttons as pixels, and nothing else."""
    image = Image.new("RGB", (320, 420), "white")
    pen = ImageDraw.Draw(image)
    for text, (left, top, right, bottom) in (("Cancel", (20, 100, 140, 140)), ("Submit", (180, 100, 300, 140))):
        pen.rectangle((left, top, right, bottom), outline="black", fill=(235, 235, 235))
        pen.text(
            ((left + right) / 2, (top + bottom) / 2), text, fill="black", font=ImageFont.load_default(22), anchor="mm"
        )
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def test_a_screenshot_of_ones_own_is_a_state_and_is_forecast_from(screen, tmp_path, capsys):
    pytest.importorskip("rapidocr_onnxruntime")
    image, drawn = tmp_path / "screen.png", tmp_path / "drawn.png"
    image.write_bytes(screen)
    found = state_of(screen, "Press Submit.", "screen.png")
    assert (found.goal, found.image, found.width, found.height) == ("Press Submit.", screen, 320, 420)
    assert [(element.role, element.text) for element in found.elements] == [("text", "Cancel"), ("text", "Submit")]
    assert inside(centre(found.elements[1].box), (180 / 320, 100 / 420, 300 / 320, 140 / 420))

    base = write_base(tmp_path / "base", trajectories(tmp_path), image=False, steps=0)
    command = ["forecast", str(base), "--profile", "micro"]
    assert main([*command, "--image", str(image), "--goal", "Press Submit.", "--draw", str(drawn)]) == 0
    assert "goal: Press Submit." in capsys.readouterr().out
    assert drawn.read_bytes().startswith(b"\x89PNG")
    image.write_bytes(screen[:200])
    for code, wrong, why in (
        (2, ["--image", str(image), "--goal", "Press Submit."], "screen.png is not a whole"),
        (2, ["--image", str(tmp_path / "none.png"), "--goal", "x"], "does not exist"),
        (2, ["--image", str(image)], "--image and --goal go together"),
        (2, ["--goal", "x"], "--image and --goal go together"),
        (2, ["--image", str(image), "--goal", "x", "--trajectory", "t"], "without --trajectory"),
        (2, ["--image", str(image), "--goal", "x", "--step", "1"], "and --step"),
    ):
        assert main([*command, *wrong]) == code
        assert why in capsys.readouterr().err


@pytest.mark.parametrize("size", [(10_000, 1), (1, 3000), (2100, 17)])
def test_what_is_flat_has_no_text_and_is_no_screen(size):
    pytest.importorskip("rapidocr_onnxruntime")
    buffer = io.BytesIO()
    Image.new("RGB", size, "white").save(buffer, "PNG")
    assert OcrLocator().read(buffer.getvalue()) == ()
    with pytest.raises(ConfigError, match=r"flat\.png has .* as no screen has; show the whole screen"):
        state_of(buffer.getvalue(), "look", "flat.png")


def test_the_reader_finds_text_in_pixels_alone(screen, monkeypatch):
    pytest.importorskip("rapidocr_onnxruntime")
    agent = OcrLocator()
    seen = state(shown=(), image=screen)
    for text, box in (
        ("Cancel", (20 / 320, 100 / 420, 140 / 320, 140 / 420)),
        ("Submit", (180 / 320, 100 / 420, 300 / 320, 140 / 420)),
    ):
        grounded = agent.ground(seen, step(f'click the button "{text}"', Action("click")))
        assert inside(grounded.point, box)
    assert agent.ground(seen, step('click the button "Delete everything"', Action("click"))) is None
    # The same screen is not read twice.
    monkeypatch.setattr(agent, "_recognise", lambda image: pytest.fail("read again"))
    assert agent.ground(seen, step('click the button "Submit"', Action("click"))) is not None


def test_without_a_screen_there_is_nothing_to_read():
    assert OcrLocator().ground(state(shown=SCREEN, image=None), click("One")) is None
