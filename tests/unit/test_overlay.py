"""The drawn forecast: looked at pixel by pixel where a colour has to be, and at the same bytes every time."""

import io

import pytest
from PIL import Image

from tests.episodes import picture
from tests.forecasts import BOXES, click, elements, state, typing
from tracer.action import Action
from tracer.forecast import ForecastStep
from tracer.reporting.overlay import LARGEST, REFERENCE, RIGHT, TALLEST, WRONG, paint
from tracer.trajectory import centre

SEEN = state(image=picture("screen"))
TRUTH = (click("One"), click("Two"), click("Send"))


def opened(png):
    return Image.open(io.BytesIO(png)).convert("RGB")


def near(colour, other, tolerance=40):
    return all(abs(a - b) <= tolerance for a, b in zip(colour, other, strict=True))


def share(image, box, colour):
    """How much of a box (fractions of the enlarged screen, 480 by 630) is of about that colour."""
    left, top, right, bottom = (round(edge * size) for edge, size in zip(box, (480, 630) * 2, strict=True))
    pixels = list(image.crop((left, top, right, bottom)).get_flattened_data())
    return sum(near(pixel, colour) for pixel in pixels) / len(pixels)


def around(text, reach=0.03):
    x, y = centre(BOXES[text])
    return (x - reach, y - reach * 160 / 210, x + reach, y + reach * 160 / 210)


def test_right_steps_are_green_and_wrong_ones_red():
    image = opened(paint(SEEN, (click("One"), click("Send")), TRUTH, [True, False]))
    assert share(image, around("One"), RIGHT) > 0.4
    assert share(image, around("Send"), WRONG) > 0.4
    assert share(image, around("One"), WRONG) < 0.05
    assert share(image, around("Two"), WRONG) < 0.2  # no mark, though the path may pass


def test_a_small_screen_is_enlarged_by_a_whole_number_and_a_large_one_brought_down():
    assert opened(paint(SEEN, (click("One"),))).width == 480
    large = state(image=picture("phone", width=1200, height=2000))
    assert opened(paint(large, (click("One"),))).width == LARGEST


@pytest.mark.parametrize(("width", "height", "drawn"), [(1, 3000, 1), (10_000, 1, LARGEST)])
def test_a_flat_screen_is_drawn_small_and_a_long_step_cut(width, height, drawn):
    screen = state(image=picture("flat", width=width, height=height))
    image = opened(paint(screen, (typing("x" * 10**6),)))
    assert image.width == drawn and image.height <= TALLEST + 100


def test_the_references_target_is_outlined():
    with_box = opened(paint(SEEN, (), TRUTH, []))
    left, top, right, _ = BOXES["One"]
    edge = (left, top - 0.006, right, top + 0.006)
    assert share(with_box, edge, REFERENCE) > 0.2
    assert share(opened(paint(SEEN, ())), edge, REFERENCE) == 0


def test_a_reference_without_a_box_is_outlined_around_its_place():
    bare = ForecastStep(action=click("One").action, instruction="click")
    assert share(opened(paint(SEEN, (), (bare,))), around("One", 0.05), REFERENCE) > 0.03


def test_every_step_is_listed_below_those_without_a_place_too():
    one = opened(paint(SEEN, (click("One"),)))
    three = opened(paint(SEEN, (click("One"), typing("karla"), click("Send", elements("One")))))
    assert three.height == one.height + 2 * 26
    below = three.crop((0, 630, 480, three.height))
    assert len(set(below.get_flattened_data())) > 10


def test_what_does_not_parse_says_why():
    image = opened(paint(SEEN, None, TRUTH, (), error="unknown action: 'klick'"))
    below = image.crop((0, 630, 480, 672))
    assert any(near(pixel, WRONG) for pixel in below.get_flattened_data())


def test_marks_at_one_place_stand_beside_each_other():
    image = opened(paint(SEEN, (click("One"),) * 3, TRUTH, [True, False, False]))
    assert share(image, around("One"), RIGHT) > 0.4
    x, y = centre(BOXES["One"])
    assert share(image, (x - 0.2, y - 0.15, x + 0.2, y + 0.15), WRONG) > 0.015


@pytest.mark.parametrize("point", [(0.0, 0.0), (1.0, 1.0), (0.5, 0.999)])
def test_a_mark_stays_on_the_screen(point):
    step = ForecastStep(action=Action.of("click", x=point[0], y=point[1]), instruction="click")
    image = opened(paint(SEEN, (step,), (step,), [True]))
    screen = image.crop((0, 0, 480, 630))
    green = sum(near(pixel, RIGHT) for pixel in screen.get_flattened_data())
    assert green > 250


def test_without_a_screen_the_steps_are_still_listed():
    assert opened(paint(state(image=None), (typing("a"),))).height > 72


def test_the_same_arguments_give_the_same_bytes_and_a_long_text_fits():
    long = typing("w" * 400)
    first = paint(SEEN, (click("One"), long), TRUTH, [True, False])
    assert first == paint(SEEN, (click("One"), long), TRUTH, [True, False])
    assert len(first) < 60_000
