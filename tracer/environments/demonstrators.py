"""Scripted demonstrators of MiniWoB++ pages, one function per page or family of pages.

A demonstrator is a function of a ``Performance``: it reads the goal and the element list, never the page's source, so
every element it clicks is in the list by construction. ``DEMONSTRATORS`` maps each page to its function.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from tracer.environments.performance import Performance
from tracer.trajectory import Element

MONTHS = (
    "January", "February", "March", "April", "May", "June",
    "July", "August", "September", "October", "November", "December",
)  # fmt: skip

Demonstrator = Callable[[Performance], None]
DEMONSTRATORS: dict[str, Demonstrator] = {}


def _plays(*pages: str, submit: bool = False) -> Callable[[Demonstrator], Demonstrator]:
    """Register the demonstrator of these pages; with ``submit``, what it filled in is submitted."""

    def register(demonstrator: Demonstrator) -> Demonstrator:
        def play(p: Performance) -> None:
            demonstrator(p)
            if submit:
                p.click_on("Submit", "button")

        DEMONSTRATORS.update(dict.fromkeys(pages, play))
        return demonstrator

    return register


def demonstrate(performance: Performance) -> None:
    """Play the episode to its end; ``performance.success`` and ``performance.steps`` then say how it went.

    Raises ``DemonstrationFailed``. The page is one of ``DEMONSTRATORS``.
    """
    DEMONSTRATORS[performance.page](performance)


@_plays("click-test", "focus-text")
def click_the_only_one(p: Performance) -> None:
    """Click the one button or field that there is."""
    p.click(p.elements[0])


@_plays("click-button", "click-dialog", "click-dialog-2", "click-test-2", "unicode-test")
def click_named_button(p: Performance) -> None:
    """Click the button that the goal names."""
    name = p.read(r'"(.+)"|button (ONE)')
    text = name[0] or name[1]
    # The corner button shows an x; its accessible name is Close.
    p.click_on("Close" if text == "x" else text, "button")


@_plays("click-button-sequence")
def click_button_sequence(p: Performance) -> None:
    """Click two buttons in order."""
    for text in ("ONE", "TWO"):
        p.click_on(text, "button")


@_plays("click-link")
def click_link(p: Performance) -> None:
    """Click the link that the goal names."""
    p.click_on(p.read(r'the link "(.*?)"')[0], "span")


@_plays("click-tab")
def click_tab(p: Performance) -> None:
    """Open the tab that the goal names."""
    p.click_on(p.read(r"(Tab #\d)")[0], "a")


@_plays("click-widget")
def click_widget(p: Performance) -> None:
    """Click any widget of the kind that the goal names."""
    kind = p.read(r'a "(\w+)" widget')[0]
    p.click_on(None, kind if kind in ("textarea", "button") else f"input:{kind}")


@_plays("focus-text-2")
def focus_text(p: Performance) -> None:
    """Focus one of several text fields."""
    p.click_on(None, "input:text", nth=int(p.read(r"the (\d)")[0]) - 1)


@_plays("click-option", submit=True)
def click_option(p: Performance) -> None:
    """Choose a radio button and submit."""
    p.click_on(p.read(r"Select (.*) and click")[0], "input:radio")


@_plays("click-checkboxes", "click-checkboxes-large", "click-checkboxes-transfer", submit=True)
def click_checkboxes(p: Performance) -> None:
    """Tick the boxes that the goal names and submit."""
    names = p.read(r"Select (.*) and click Submit")[0]
    for name in [] if names == "nothing" else names.split(", "):
        p.click_on(name, "input:checkbox")


@_plays("click-collapsible", submit=True)
def click_collapsible(p: Performance) -> None:
    """Open the section and submit."""
    p.click_on(None, "h3")


@_plays("click-collapsible-2-nodelay", "click-tab-2", "click-tab-2-hard")
def search_parts(p: Performance) -> None:
    """Open sections, or tabs, until one shows the link."""
    text = p.read(r'link "(.*?)"')[0]
    heading = "h3" if "collapsible" in p.page else "a"
    for nth in range(sum(element.role == heading for element in p.elements)):
        if nth or heading == "h3":  # the first tab is open
            p.click_on(None, heading, nth=nth)
        if p.find(text, "span"):
            return p.click_on(text, "span")
    p.fail(f"no part shows {text!r}")


@_plays("choose-list", submit=True)
def choose_from_list(p: Performance) -> None:
    """Choose from a drop-down list by typing the option's name."""
    text = p.read(r"Select (.*) from the list")[0]
    p.click_on(None, "select")
    # The opened list is drawn by the system, not by the page: it can only be typed into.
    p.type(text)
    p.press("Enter")


@_plays("click-scroll-list", submit=True)
def choose_from_scroll_list(p: Performance) -> None:
    """Choose the one option from a list that scrolls."""
    first, *rest = p.read(r"Select (.*) from the scroll list")[0].split(", ")
    if rest:
        p.fail("two options need a key held down while clicking")
    p.click_on(first, "option")


@_plays("enter-text", "enter-text-dynamic", submit=True)
def enter_text(p: Performance) -> None:
    """Type the given text and submit."""
    p.fill(p.read(r'Enter "(.*)" into')[0])


@_plays("enter-text-2", submit=True)
def enter_text_in_case(p: Performance) -> None:
    """Type the given text in upper or lower case and submit."""
    text, case = p.read(r'Type "(.*)" in all (upper|lower)')
    p.fill(text.upper() if case == "upper" else text.lower())


@_plays("enter-password", submit=True)
def enter_password(p: Performance) -> None:
    """Type the password twice and submit."""
    for label in ("Password", "Verify password"):
        p.fill(p.read(r'password "(.*)" into')[0], label, role="input:password")


@_plays("enter-date", submit=True)
def enter_date(p: Performance) -> None:
    """Type a date into the segments of a date field."""
    p.click_on(None, "input:date")
    # The middle of the field is the year; the month stands two segments to the left.
    p.press("ArrowLeft")
    p.press("ArrowLeft")
    p.type(p.read(r"Enter (\S+) as")[0].replace("/", ""))


@_plays("enter-time", submit=True)
def enter_time(p: Performance) -> None:
    """Type a time into the segments of a time field."""
    hour, minute, half = p.read(r"Enter (\d+):(\d+) (AM|PM)")
    p.fill(f"{int(hour):02d}{minute}{half}", role="input:time")


@_plays("login-user", "login-user-popup")
def login(p: Performance) -> None:
    """Log in, and dismiss the pop-up if one appears."""
    for label, text in zip(("Username", "Password"), p.read(r'"(.*?)" and the password "(.*?)"'), strict=True):
        p.click_on(label)
        if not p.find(label, "input:text", "input:password"):  # a pop-up came in between, at random
            p.click_on("Cancel", "button")
            p.click_on(label)
        p.type(text)
    button = p.find("Login", "button") or p.find("OK", "button") or p.find(None, "button")
    p.click(button or p.fail("no button"))


@_plays("use-autocomplete", "use-autocomplete-nodelay", submit=True)
def use_autocomplete(p: Performance) -> None:
    """Type the beginning and choose the right suggestion."""
    start, end = p.read(r'starts with "(.*?)"(?: and ends with "(.*?)")?\.?$')
    p.fill(start)

    def suggestion() -> Element | None:
        return next((e for e in p.elements if e.text.startswith(start) and e.text.endswith(end)), None)

    if not suggestion():
        p.wait()
    p.click(p.seek(suggestion, f"a suggestion {start!r} to {end!r}"))


@_plays("search-engine")
def search_engine(p: Performance) -> None:
    """Search, page through the results and open the one at the given rank."""
    query, rank = p.read(r'enter "(.*?)".*click the (\d+)')
    p.fill(query)
    p.click_on("Search", "button")
    for _ in range((int(rank) - 1) // 3):
        p.click_on(">", "a")
    p.click_on(None, "a", nth=(int(rank) - 1) % 3)


@_plays("phone-book")
def phone_book(p: Performance) -> None:
    """Page through the contacts and click a field of the right one."""
    name, field = p.read(r"Find (.*) in the contact book and click on their (\w+)")
    while not p.find(name, "h2"):
        p.click_on(">", "a")
    label = p.find(f"{field.capitalize()}:") or p.fail(f"no field {field!r}")
    following = p.elements[p.elements.index(label) + 1 :]
    p.click(next(element for element in following if element.role == "a"))


@_plays("form-sequence-2", submit=True)
def radio_and_text(p: Performance) -> None:
    """Choose a radio button and fill in a text field."""
    radio, number, box = p.read(r'the (\d)\w+ radio button and enter the number "(-?\d+)" into the (\d)')
    p.click_on(None, "input:radio", nth=int(radio) - 1)
    p.fill(number, nth=int(box) - 1)


@_plays("form-sequence", submit=True)
def slider_and_checkbox(p: Performance) -> None:
    """Set a slider with the keyboard and tick a box."""
    number, box = p.read(r"Select (-?\d+) with the slider, click the (\d)")
    p.click_on("slider", "div")
    while distance := int(number) - _numbers(p)[0]:
        p.press("ArrowRight" if distance > 0 else "ArrowLeft")
    p.click_on(None, "input:checkbox", nth=int(box) - 1)


def _numbers(p: Performance) -> list[int]:
    """The numbers that the screen shows."""
    return [int(e.text) for e in p.elements if e.role == "div" and re.fullmatch(r"-?\d+", e.text)]


@_plays("use-slider", "use-slider-2", submit=True)
def use_sliders(p: Performance) -> None:
    """Set every slider with the keyboard."""
    for slider, number in enumerate(re.findall(r"-?\d+", p.goal)):
        p.click_on("slider", "div", nth=slider)
        while distance := int(number) - _numbers(p)[slider]:
            p.press(("Page" if abs(distance) > 10 else "Arrow") + ("Up" if distance > 0 else "Down"))


@_plays("form-sequence-3")
def dropdown_and_button(p: Performance) -> None:
    """Choose from a drop-down list and click a button."""
    option, button = p.read(r'Choose (.*) from the dropdown, then click the button labeled "(.*)"')
    p.click(p.elements[0])
    p.click_on(option, "li")
    p.click_on(button, "button")


@_plays("use-spinner", submit=True)
def use_spinner(p: Performance) -> None:
    """Click the spinner's arrows until it shows the number."""
    wanted = int(p.read(r"Select (-?\d+) with")[0])
    while True:
        field = next(element for element in p.elements if element.role.startswith("input"))
        if int(field.value) == wanted:
            return
        p.click_on(None, "a", nth=0 if int(field.value) < wanted else 1)


@_plays("navigate-tree")
def navigate_tree(p: Performance) -> None:
    """Open folders until the named entry shows, and click it."""
    name = p.read(r'named "(.*?)"')[0]
    opened: set[str] = set()
    while not p.find(name, "span", "li"):
        # A folder is a span; a file is a list row, and a wrong file ends the episode.
        closed = next((e for e in p.elements if e.role == "span" and e.text not in opened), None)
        if closed is None:
            p.fail(f"no folder leads to {name!r}")
        opened.add(closed.text)
        p.click(closed)
    p.click_on(name, "span", "li")


@_plays("click-menu")
def click_menu(p: Performance) -> None:
    """Open menus by hovering over their entries, and choose the last entry."""
    *menus, entry = p.read(r"Select (.*)")[0].split(">")
    for menu in menus:
        p.hover(p.find(menu, "div") or p.fail(f"no menu {menu!r}"))
        p.wait()
    p.click_on(entry, "div")


@_plays("grid-coordinate")
def click_grid(p: Performance) -> None:
    """Click a point of a grid."""
    p.click_on(p.read(r"coordinate (.*)\.")[0], "circle")


@_plays("scroll-text-2", submit=True)
def scroll_text(p: Performance) -> None:
    """Scroll a text, which opens in its middle, to its top or bottom: the list does not say when that is reached."""
    for _ in range(5):
        p.scroll("up" if "bottom" in p.goal else "down")


@_plays("sign-agreement")
def sign_agreement(p: Performance) -> None:
    """Scroll a text to its end, which enables the form below it, sign and agree; or cancel."""
    if "cancel button" in p.goal:
        return p.click_on("Cancel", "button")
    name, button = p.read(r'name "(.*)" then press "(.*)"')
    while any("disabled" in element.state for element in p.elements if element.role == "button"):
        p.scroll("up")
    p.fill(name, "Name")
    p.click_on(button, "button")


@_plays("odd-or-even", submit=True)
def odd_or_even(p: Performance) -> None:
    """Say of each number whether it is odd or even."""
    for row, number in enumerate(_numbers(p)):
        p.click_on("Odd" if number % 2 else "Even", "button", nth=row)


@_plays("find-greatest", submit=True)
def find_greatest(p: Performance) -> None:
    """Pick the card with the greatest number: the list says what is on them, face down as they are."""
    p.click_on(str(max(_numbers(p))), "div")


@_plays("generate-number", submit=True)
def generate_number(p: Performance) -> None:
    """Ask for random numbers until one is as the goal says."""
    kind, bound = p.read(r"(odd|even|less|greater)(?: than (\d+))?")
    fits = {
        "odd": lambda number: number % 2 == 1,
        "even": lambda number: number % 2 == 0,
        "less": lambda number: number < int(bound),
        "greater": lambda number: number > int(bound),
    }[kind]
    p.click_on("Generate", "button")
    while not fits(_numbers(p)[0]):
        p.click_on("Generate", "button")


@_plays("guess-number")
def guess_number(p: Performance) -> None:
    """Guess a digit, and again from what the page says of the last guess."""
    guess = 5
    while True:
        p.click_on(None, "input:number")
        p.press("Control+a")
        p.type(str(guess))
        p.click_on("Submit", "button")
        if p.done:
            return
        # From 5 to 2 or 8, from there one by one: the next guess follows from what the screen says alone.
        step = 3 if guess == 5 else 1
        guess += step if any("higher" in element.text for element in p.elements) else -step


@_plays("ascending-numbers")
def ascending_numbers(p: Performance) -> None:
    """Click numbers in order; after the first they are covered, and listed in order."""
    p.click_on("1", "text")
    while not p.done:
        p.click_on(None, "rect")


_SENDER = r"\b(?:from|by|Ask|the) ([A-Z][\w-]+)|\b([A-Z][\w-]+)(?:'s| sent| wrote| wants his)\b"
"""Whose mail a sentence speaks of."""


@_plays("email-inbox-forward-nl", "email-inbox-forward-nl-turk")
def forward_as_asked(p: Performance) -> None:
    """Forward a mail, which people ask for in many ways."""
    sender = next(filter(None, p.read(_SENDER)))
    names = re.findall(r"(?<!^)(?<!\. )\b[A-Z][a-z][\w-]*", p.goal)
    _forward(p, sender, next((name for name in names if name not in (sender, "Email")), p.goal.split()[0]))


def _forward(p: Performance, sender: str, recipient: str) -> None:
    p.click_on(sender, "div")
    p.click_on("Forward")
    p.fill(recipient, "to:")
    p.click_on("send-forward")


@_plays("email-inbox-delete", "email-inbox-important")
@_plays("email-inbox-forward", "email-inbox-reply", "email-inbox-noscroll", "email-inbox-star-reply")
def handle_email(p: Performance) -> None:
    """Find a sender's mail and delete, star, answer or forward it."""
    sender = p.read(r"email by (\S+?)[.,]? ")[0]
    icon = "trash" if "trash" in p.goal else "star" if "star" in p.goal else ""
    if icon:

        def icon_of_sender() -> Element | None:
            row = p.find(sender, "div")
            return p.find(icon, "span", after=row) if row else None

        return p.click(p.seek(icon_of_sender, f"the {icon} of {sender}"))
    if "reply" not in p.goal:
        return _forward(p, sender, p.read(r"forward that email to (\S+?)\.?$")[0])
    p.click_on(sender, "div")
    p.click_on("Reply")
    p.fill(p.read(r'the text "(.*)"')[0], role="textarea")
    p.click_on("send-reply")


def _icons(p: Performance, user: str, icon: str) -> list[Element]:
    """The icons of this kind under the user's visible posts, from top to bottom."""
    found, author = [], ""
    for element in p.elements:
        if element.text.startswith("@"):
            author = element.text
        elif author == user and element.text == icon:
            found.append(element)
    return found


@_plays("social-media")
def social_media(p: Performance) -> None:
    """Use a button of the named user's post."""
    user, button = p.read(r'the user (\S+), click on the "(.*?)" button')
    icon = button.lower()
    if icon in ("reply", "retweet", "like"):
        return p.click(p.seek(lambda: next(iter(_icons(p, user, icon)), None), f"the {icon} icon of {user}"))
    p.click(p.seek(lambda: next(iter(_icons(p, user, "more")), None), f"the menu of {user}"))
    p.click(p.seek(lambda: _starting(p, button, "li"), f"the menu's {button!r}"))


@_plays("social-media-some", submit=True)
def social_media_some(p: Performance) -> None:
    """Use a button of some of the named user's posts."""
    button, count, user = p.read(r'"(.*?)" button on (\d+) posts? by (\S+) and')
    for _ in range(int(count)):
        p.click(p.seek(lambda: _unselected(p, user, button.lower()), f"another post of {user}"))


@_plays("social-media-all")
def social_media_all(p: Performance) -> None:
    """Use a button of all of the named user's posts."""
    button, user = p.read(r'"(.*?)" button on all posts by (\S+) and')
    while True:
        icon = _unselected(p, user, button.lower())
        if icon:
            p.click(icon)
        elif submit := p.find("Submit", "button"):
            return p.click(submit)
        else:
            p.scroll("up")


def _unselected(p: Performance, user: str, icon: str) -> Element | None:
    return next((element for element in _icons(p, user, icon) if "selected" not in element.state), None)


@_plays("order-food")
def order_food(p: Performance) -> None:
    """Order the items that the goal lists, scrolling through the menu."""
    if p.goal.startswith("Order one of each item"):
        wanted = p.read(r"item: (.*)")[0].split(", ")
    else:
        count, kind = p.read(r"Order (\d+) items that are (.*)")
        wanted = [kind] * int(count)
    for word in wanted:
        p.click(p.seek(lambda: _plus_of(p, word.strip()), f"a dish {word!r}"))  # noqa: B023
    p.click_on("Order!", "button")


def _plus_of(p: Performance, word: str) -> Element | None:
    """The first plus whose row holds the word: a dish's name, or the name of a picture beside it."""
    row: list[str] = []
    for element in p.elements:
        if element.text == "+":
            if word in row:
                return element
            row = []
        row.append(element.text)
    return None


def _starting(p: Performance, text: str, role: str) -> Element | None:
    return next((element for element in p.elements if element.role == role and element.text.startswith(text)), None)


@_plays("choose-date-nodelay", submit=True)
def choose_date(p: Performance) -> None:
    """Choose a date in a calendar."""
    _pick_date(p, "Date:")


def _pick_date(p: Performance, field: str) -> None:
    """Choose the date that the goal gives as the value of a field."""
    month, day = (int(part) for part in p.read(r"(\d+)/(\d+)/\d+"))
    p.click_on(field, "input:text")
    while True:
        shown = next((element.text for element in p.elements if element.text in MONTHS), None)
        if shown is None:
            p.fail("no calendar came up")
        distance = month - (MONTHS.index(shown) + 1)
        if distance == 0:
            break
        p.click_on("Next" if distance > 0 else "Prev", "a")
    p.click_on(str(day), "a")


@_plays("book-flight-nodelay")
def book_flight(p: Performance) -> None:
    """Search the flights of a day between two places and book the best one."""
    kind, *places = p.read(r"the (\w+) one-way flight from: (.*) to: (.*) on")
    for label, place in zip(("From:", "To:"), places, strict=True):
        p.fill(max(re.findall(r"\w+", place), key=len), label)
        # An airport reads ``Barrow, AK (BRW)``; the goal names it by town or by code.
        while not any(name in e.value for name in (f"{place} (", f"({place})") for e in p.elements if e.text == label):
            p.press("ArrowDown")
        p.press("Enter")
    _pick_date(p, "Departure Date")
    p.click_on("Search", "button")
    _take_offer(p, kind)


@_plays("buy-ticket")
def buy_ticket(p: Performance) -> None:
    """Buy the cheapest, dearest, shortest or longest trip."""
    _take_offer(p, p.read(r"with the (.*)\.")[0])


def _take_offer(p: Performance, kind: str) -> None:
    """Look through all offers, each a duration above a button with its price, and take the best of its kind."""
    offers: dict[str, int] = {}
    seen: tuple[Element, ...] = ()
    while p.elements != seen:
        seen, minutes = p.elements, None
        for element in p.elements:
            if duration := re.fullmatch(r"(\d+)h (\d+)m", element.text):
                minutes = 60 * int(duration[1]) + int(duration[2])
            elif (price := re.search(r"\$(\d+)", element.text)) and minutes is not None:
                offers[element.text] = minutes if kind.startswith(("short", "long")) else int(price[1])
        p.scroll("up")
    best = (max if kind.startswith(("long", "most")) else min)(offers, key=lambda offer: offers[offer])
    while not p.find(best, "button"):
        p.scroll("down")
    p.click_on(best, "button")


@_plays("copy-paste", "copy-paste-2", submit=True)
def copy_and_paste(p: Performance) -> None:
    """Copy one text area into another with the keyboard."""
    nth = re.search(r"the (\d)\w\w text area", p.goal)
    p.click_on(None, "textarea", nth=int(nth.group(1)) - 1 if nth else 0)
    p.press("Control+a")
    p.press("Control+c")
    p.click_on(None, "input:text")
    p.press("Control+v")


@_plays("multi-layouts", "multi-orderings")
def search_movies(p: Performance) -> None:
    """Fill in the search form that the goal describes."""
    genre, director, year = p.read(r"Search for (.*) movies directed by (.*) from year (\d+)")
    answers = {"genre": genre, "director": director, "year": year, "date": year}
    for field in [element for element in p.elements if element.role == "input:text"]:
        p.fill(next(answer for word, answer in answers.items() if word in field.text.lower()), field.text)
    button = next((e for e in p.elements if e.text in ("Submit", "Search", "Go!")), None)
    p.click(button or p.fail("no button to search with"))


@_plays("read-table", submit=True)
def read_table(p: Performance) -> None:
    """Read a value from a table and enter it."""
    label = p.read(r"the value of (.*) into")[0]
    p.fill(_cell_beside(p, label))


@_plays("read-table-2", submit=True)
def read_table_into_form(p: Performance) -> None:
    """Read several values from a table and enter them."""
    for field in [element for element in p.elements if element.role == "input:text"]:
        p.fill(_cell_beside(p, field.text.rstrip(":")), field.text)


def _cell_beside(p: Performance, label: str) -> str:
    cells = [element.text for element in p.elements if element.role == "td"]
    return cells[cells.index(label) + 1] if label in cells else p.fail(f"the table has no {label!r}")


@_plays("text-transform", submit=True)
def text_transform(p: Performance) -> None:
    """Read distorted letters in order and type them."""
    letters = sorted((e for e in p.elements if e.role == "span"), key=lambda e: e.box[0])
    p.fill("".join(letter.text for letter in letters))
