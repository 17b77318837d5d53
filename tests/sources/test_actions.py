"""The action maps: from a published action to ours and back, for every rule; what has no rule is refused."""

import ast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.sources import inverse
from tests.strategies import patient
from tracer.action import Action
from tracer.sources import agenttrek, calls, gui_odyssey, mm_traj, pyautogui
from tracer.sources.actions import ANDROID_CONTROL, BROWSER_CALLS, GUI_ODYSSEY, MIND2WEB, PYAUTOGUI
from tracer.sources.source import Refused

SCREEN = (1080, 2400)
X, Y, THOUSANDTH, LINES = st.integers(0, 1080), st.integers(0, 2400), st.integers(0, 1000), st.text(max_size=20)
DIRECTION = st.sampled_from(("up", "down", "left", "right"))
APPS = st.text(min_size=1, max_size=12)

# Every published action with its arguments, written here from the data sets' documentation.
PUBLISHED = {
    "android_control": (
        ANDROID_CONTROL,
        {
            "click": {"x": X, "y": Y},
            "long_press": {"x": X, "y": Y},
            "scroll": {"direction": DIRECTION},
            "open_app": {"app_name": APPS},
            "input_text": {"text": LINES},
            "type": {"x": X, "y": Y, "text": LINES},
            "navigate_home": {},
            "navigate_back": {},
            "wait": {},
        },
    ),
    "gui_odyssey": (
        GUI_ODYSSEY,
        {
            "CLICK": {"x": THOUSANDTH, "y": THOUSANDTH},
            "LONG_PRESS": {"x": THOUSANDTH, "y": THOUSANDTH},
            "SCROLL": {"direction": DIRECTION, "x": THOUSANDTH, "y": THOUSANDTH},
            "TYPE": {"text": LINES},
            "PRESS_HOME": {},
            "PRESS_BACK": {},
            "PRESS_RECENT": {},
            "COMPLETE": {},
            "IMPOSSIBLE": {},
        },
    ),
    "mind2web": (
        MIND2WEB,
        {
            "CLICK": {"x": X, "y": Y},
            "TYPE": {"x": X, "y": Y, "value": LINES},
            "SELECT": {"x": X, "y": Y, "value": LINES},
        },
    ),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_every_rule_of_a_table_is_tested(name):
    table, actions = PUBLISHED[name]
    assert {rule.name for rule in table.rules} == set(actions)


@pytest.mark.parametrize(("source", "name"), [(source, name) for source in PUBLISHED for name in PUBLISHED[source][1]])
def test_a_published_action_comes_back_as_it_was(source, name):
    table, actions = PUBLISHED[source]

    @patient
    @given(st.fixed_dictionaries(actions[name]))
    def there_and_back(arguments):
        action = table.canonical(name, arguments, SCREEN)
        assert inverse.published(table, action, SCREEN) == (name, arguments)

    there_and_back()


def test_scrolls_are_the_fingers():
    # AndroidControl: "down" reveals content further down, for which the finger moves up.
    assert ANDROID_CONTROL.canonical("scroll", {"direction": "down"}).get("direction") == "up"
    assert ANDROID_CONTROL.canonical("scroll", {"direction": "left"}).get("direction") == "right"
    # A wheel turned up (positive) shows what is above: the finger moves down.
    assert pyautogui.actions("pyautogui.scroll(5)")[0].get("direction") == "down"
    assert pyautogui.actions("pyautogui.hscroll(5)")[0].get("direction") == "left"
    # BrowserGym's positive delta scrolls down, and GUI-Odyssey's path is the finger's.
    assert agenttrek.actions("scroll(0, 200)")[0].get("direction") == "up"
    assert gui_odyssey.decoded("SCROLL", [[500, 800], [500, 200]]).get("direction") == "up"


FRACTION = st.integers(0, 10_000).map(lambda value: value / 10_000)
KEY = st.sampled_from([*pyautogui.KEYS, "a", "Z", "7", "é", "-"])
TEXT = st.text(max_size=20)


@st.composite
def codes(draw):
    """AgentNet's code, written here as its recorder writes it, with the number of actions it holds."""
    x, y, x2, y2 = (draw(FRACTION) for _ in range(4))
    kind = draw(st.integers(0, 8))
    if kind == 0:
        name = draw(st.sampled_from(["click", "doubleClick", "rightClick", "middleClick", "moveTo"]))
        return f"pyautogui.{name}(x={x}, y={y})", 1
    if kind == 1:
        return f"pyautogui.moveTo(x={x}, y={y})\npyautogui.dragTo(x={x2}, y={y2}, button='left')", 1
    if kind == 2:
        clicks = draw(st.integers(-20, 20).filter(bool))
        return f"pyautogui.moveTo(x={x}, y={y})\npyautogui.{draw(st.sampled_from(['scroll', 'hscroll']))}({clicks})", 1
    if kind == 3:
        return f"pyautogui.{draw(st.sampled_from(['write', 'typewrite']))}(message={draw(TEXT)!r})", 1
    if kind == 4:
        keys = draw(st.lists(KEY, min_size=1, max_size=3))
        return f"pyautogui.press(keys={keys!r}, presses={(n := draw(st.integers(1, 3)))})", n * len(keys)
    if kind == 5:
        keys = draw(st.lists(KEY, min_size=2, max_size=3))
        arguments = draw(st.sampled_from([repr(keys), ", ".join(map(repr, keys))]))
        return f"pyautogui.hotkey({arguments})", 1
    if kind == 6:
        return f"computer.{draw(st.sampled_from(['tripleClick', 'triple_click']))}(x={x}, y={y})", 1
    if kind == 7:
        return draw(st.sampled_from(["computer.wait()", "computer.wait(2)", "computer.wait(seconds=0.5)"])), 1
    return f"computer.terminate(status={draw(st.sampled_from(['success', 'failure']))!r})", 1


@patient
@given(codes())
def test_agentnets_code_comes_back_with_the_same_meaning(written):
    code, count = written
    found = pyautogui.actions(code)
    assert len(found) == count
    assert pyautogui.actions(inverse.agentnet(found)) == found


@patient
@given(codes())
def test_agentnets_code_comes_back_word_for_word_where_it_has_one_spelling(written):
    code, _ = written
    again = inverse.agentnet(pyautogui.actions(code))
    if not any(word in code for word in ("press", "hotkey", "typewrite", "triple_click", "wait")):
        assert ast.dump(ast.parse(again)) == ast.dump(ast.parse(code))


@patient
@given(codes())
def test_the_quick_reading_of_plain_calls_agrees_with_the_syntax_tree(written):
    code, _ = written
    assert list(calls.calls(code)) == list(calls.parsed(code))


@patient
@given(st.text("pyautogui.cl(x=0.1,'\"y1_)\n-\\ \t", max_size=40))
def test_the_quick_reading_agrees_on_any_text(text):
    code = f"pyautogui.click({text})"
    try:
        expected = list(calls.parsed(code))
    except Refused:
        # What Python refuses may be read quickly only if it is refused as an action, too.
        with pytest.raises(Refused):
            pyautogui.actions(code)
    else:
        assert list(calls.calls(code)) == expected


def test_one_plain_click_is_the_same_with_and_without_a_tree():
    quick = pyautogui.actions("pyautogui.click(x=0.1034, y=0.2071)")
    slow = pyautogui.actions("pyautogui.click(x = 0.1034, y = 0.2071)")
    assert quick == slow == (Action.of("click", x=0.1034, y=0.2071),)
    assert {rule.name: rule.type for rule in PYAUTOGUI.rules}.items() >= pyautogui.PLAIN_TYPES.items()


@pytest.mark.parametrize(
    ("alias", "ours"),
    [("return", "Enter"), ("ESCAPE", "Escape"), ("win", "Meta"), ("cmd", "Meta"), ("pgdn", "PageDown"), ("A", "A")],
)
def test_keys_have_one_name(alias, ours):
    assert pyautogui.actions(f"pyautogui.press({alias!r})")[0].get("key") == ours


@pytest.mark.parametrize("keys", [["ctrl", "+"], ["ctrl", "shift", "esc"], ["+"], ["-", "a"]])
def test_chords_keep_their_keys(keys):
    (action,) = pyautogui.actions(f"pyautogui.hotkey({keys!r})")
    assert inverse.key_names(action.get("key")) == keys


@pytest.mark.parametrize(
    ("action", "info", "string"),
    [
        # Hand-computed from the official converter's rules.
        ("CLICK", [[500, 120]], "CLICK: (500, 120)"),
        ("CLICK", "KEY_HOME", "PRESS_HOME"),
        ("CLICK", "KEY_BACK", "PRESS_BACK"),
        ("CLICK", "KEY_APPSELECT", "PRESS_RECENT"),
        ("LONG_PRESS", [[1, 999]], "LONG_PRESS: (1, 999)"),
        ("SCROLL", [[500, 800], [520, 200]], "SCROLL: UP"),
        ("SCROLL", [[500, 200], [520, 800]], "SCROLL: DOWN"),
        ("SCROLL", [[800, 500], [200, 520]], "SCROLL: LEFT"),
        ("SCROLL", [[200, 500], [800, 520]], "SCROLL: RIGHT"),
        ("SCROLL", [[200, 500], [300, 400]], "SCROLL: UP"),  # a tie goes vertical
        ("TEXT", "a: b", "TYPE: a: b"),
        ("TYPE", "a", "TYPE: a"),
        ("COMPLETE", "", "COMPLETE"),
        ("INCOMPLETE", "", "IMPOSSIBLE"),
    ],
)
def test_gui_odyssey_writes_the_official_strings(action, info, string):
    assert inverse.gui_odyssey(gui_odyssey.decoded(action, info)) == string


BROWSER_VALUE = st.one_of(st.text(max_size=8), st.integers(-500, 500), st.lists(st.text(max_size=4), max_size=2))


@pytest.mark.parametrize("name", [name for name in BROWSER_CALLS if name != "scroll"])
def test_browsergym_calls_come_back(name):
    @patient
    @given(st.lists(BROWSER_VALUE, max_size=len(BROWSER_CALLS[name])))
    def there_and_back(values):
        found = agenttrek.actions(f"{name}({', '.join(map(repr, values))})")
        assert found[0].tool_arguments == dict(zip(BROWSER_CALLS[name], values, strict=False))
        assert agenttrek.actions(inverse.agenttrek(found[0])) == found

    there_and_back()


@pytest.mark.parametrize(
    "code",
    ["noop()", "noop(1000)", "scroll(0, -120.5)", "scroll(10, 20)", "scroll(False, 20)", "keyboard_press('Enter')",
     "keyboard_type('a b')", "send_msg_to_user('42')", "report_infeasible()"],
)  # fmt: skip
def test_other_browser_actions_come_back(code):
    found = agenttrek.actions(code)
    assert agenttrek.actions(inverse.agenttrek(found[0])) == found


@pytest.mark.parametrize(
    ("code", "name", "arguments"),
    [
        ('print(visualizer("What?", "a.jpg"))', "visualizer", {"question": "What?", "image_path": "a.jpg"}),
        ('p = "a.jpg"\nr = facedetection(p)\nprint(r)', "facedetection", {"image_path": "a.jpg"}),
        ('ask_search_agent(query="x")', "ask_search_agent", {"query": "x"}),
        ("final_answer(text='x')", "final_answer", {"text": "x"}),  # not the answer "None"
    ],
)
def test_a_plain_tool_call_is_that_call(code, name, arguments):
    action = mm_traj.action_of(code)
    assert (action.get("name"), action.tool_arguments) == (name, arguments)
    assert mm_traj.action_of(inverse.mm_traj(action)) == action


@pytest.mark.parametrize(
    ("code", "tools"),
    [
        ("for b in objectlocation('cat', p):\n    print(visualizer('?', b))", ["objectlocation", "visualizer"]),
        ("print(visualizer('?', path()))", ["visualizer"]),
        ("import math\nprint(math.pi)", []),
        ("x = ask_search_agent('a')\nfinal_answer(x)", ["ask_search_agent", "final_answer"]),
        ("r = visualizer('?', 'a.jpg')[0]\nprint(r)", ["visualizer"]),
        ("ask_search_agent({1, 2})", ["ask_search_agent"]),  # JSON has no sets
        ("print(ask_search_agent('x'), open('y').read())", ["ask_search_agent"]),
        ("answers[key()] = ask_search_agent('x')", ["ask_search_agent"]),
    ],
)
def test_python_around_tools_stays_code(code, tools):
    action = mm_traj.action_of(code)
    assert action.get("name") == "python"
    assert action.tool_arguments == {"code": code, "tools": tools}
    assert inverse.mm_traj(action) == code
