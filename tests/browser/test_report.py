"""The report in a real Chromium: short on a phone, readable in the dark, for the keyboard too."""

import pytest

from tests.browser.pages import browsing, faults
from tests.unit.test_report import CONFIG, folders  # noqa: F401
from tracer.reporting.report import report

pytestmark = pytest.mark.browser
PHONE = 844
"""Pixels of a phone's height, of which 390 are its width."""


@pytest.fixture(scope="module")
def address(folders, tmp_path_factory):  # noqa: F811
    out = tmp_path_factory.mktemp("page") / "report"
    assert report(CONFIG, folders, out)["metrics"]["bytes"] < 2_000_000
    return (out / "report.html").as_uri()


def test_a_phone_shows_it_in_fewer_than_ten_screens(address):
    with browsing(address, width=390) as page:
        page.evaluate("document.querySelectorAll('img').forEach((each) => { each.loading = 'eager'; })")
        page.wait_for_function("[...document.querySelectorAll('details[open] img')].every((each) => each.complete)")
        assert page.evaluate("document.documentElement.scrollHeight") < 10 * PHONE
        assert page.evaluate("document.documentElement.scrollWidth") == 390
        assert page.locator(".verdict").first.bounding_box()["y"] < PHONE


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_everybody_can_read_it(address, scheme, width):
    with browsing(address, scheme, width) as page:
        page.evaluate("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
        assert faults(page) == []
