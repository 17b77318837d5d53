"""The strategies: when each asks for a forecast, how long a one, and what it executes."""

import pytest

from tests.forecasts import SCREEN, click, elements, state, typing
from tracer.agents.agent import act_all
from tracer.agents.anticipatory import Anticipatory
from tracer.agents.blind import Blind
from tracer.agents.cot import Cot
from tracer.agents.mcts import Mcts, NoConfidence
from tracer.agents.prompted import Prompted
from tracer.agents.react import React
from tracer.planner.plan import Plan
from tracer.tools.elements import ElementLocator
from tracer.tools.own import OwnCoordinates

TOOLS = ElementLocator()


def plan(*steps):
    return Plan(text="answer", forecast=tuple(steps))


UNPARSABLE = Plan(text="klick 4", forecast=None, error="unknown action")


class Fixed:
    """A planner with one answer; it remembers how many states it was asked about, and how far."""

    name = "fixed"

    def __init__(self, answer):
        self.answer = answer
        self.asked = []

    def forecast(self, states, horizon, attempt=0):
        self.asked.append((len(states), horizon))
        return [self.answer] * len(states)


def test_the_react_agent_wants_one_step_every_time():
    agent = React(TOOLS, 5)
    for _ in range(2):
        assert agent.wants(state()) == 1
        assert agent.act(state(), plan(click("One"))).step == click("One")


def test_the_anticipatory_agent_forecasts_anew_and_executes_the_first_step():
    agent = Anticipatory(TOOLS, 5)
    for first in ("One", "Two"):
        assert agent.wants(state()) == 5
        decision = agent.act(state(), plan(click(first), click("Send")))
        assert decision.step == click(first)


def test_the_blind_agent_executes_everything_and_asks_again_when_its_forecast_is_used_up():
    agent = Blind(TOOLS, 5)
    assert agent.wants(state()) == 5
    assert agent.act(state(), plan(click("One"), typing("a"))).step == click("One")
    assert agent.wants(state()) == 0
    assert agent.act(state(), None).step == typing("a")
    assert agent.wants(state()) == 5
    assert agent.act(state(), plan(click("Send"))).step == click("Send")


def test_the_cot_agent_plans_once_and_then_sees_its_plan_shrink():
    agent = Cot(TOOLS, 5)
    assert (agent.wants(state()), agent.view(state()).observation) == (5, "")
    agent.act(state(), plan(click("One"), click("Two"), click("Send")))
    assert agent.wants(state()) == 1
    assert agent.view(state()).observation == 'plan: click the button "Two" ; click the button "Send"'
    agent.act(state(), plan(click("Two")))
    assert agent.view(state()).observation == 'plan: click the button "Send"'


class Answers(Fixed):
    """A planner that answers each attempt differently."""

    def forecast(self, states, horizon, attempt=0):
        self.asked.append((len(states), attempt))
        return [self.answer[attempt]] * len(states)


def test_an_agent_whose_first_step_leads_nowhere_asks_again_and_pays_for_it():
    nowhere = Plan(text="b", forecast=(click("Send", shown=elements("One")),), tokens=4)
    bad = Plan(text="a", forecast=None, error="unknown action", tokens=3)
    good = Plan(text="c", forecast=(click("One"),), tokens=5)
    for retries, calls, tokens, solved in ((0, 1, 3, False), (1, 2, 7, False), (2, 3, 12, True), (9, 3, 12, True)):
        planner = Answers([bad, nowhere, good])
        agents = [Anticipatory(OwnCoordinates(), 3, retries=retries), React(OwnCoordinates(), 3)]
        decision, other = act_all(agents, planner, [state(), state()])
        assert (decision.calls, decision.tokens, decision.action is not None) == (calls, tokens, solved)
        assert (other.calls, other.action) == (1, None)
        assert planner.asked == [(1, 0), (1, 0), *((1, attempt) for attempt in range(1, calls))]


def test_a_step_that_could_not_be_executed_was_not_taken():
    agent = Anticipatory(OwnCoordinates(), 3, check=True, retries=1)
    agent.act(state(), plan(click("Send", shown=elements("One")), click("Two")))
    assert agent.left == ()
    assert agent.act(state(), plan(click("One"))).action is not None


class Sure(Fixed):
    """Answers by the steps so far, each attempt another of the answers, with its confidence."""

    def forecast(self, states, horizon, attempt=0):
        found = []
        for shown in states:
            self.asked.append((shown.history, horizon))
            chosen = self.answer[shown.history]
            found.append(chosen[attempt % len(chosen)])
        return found


def sure(confidence, *steps):
    return Plan(
        text="answer", forecast=steps or None, error="" if steps else "nothing", confidence=confidence, tokens=3
    )


ONE, TWO, SEND = (click(name).instruction for name in ("One", "Two", "Send"))


def test_the_search_prefers_the_step_whose_forecasts_go_on_well():
    """The first forecast through One looks better, and what comes after Two is better."""
    planner = Sure({
        (): [sure(0.8, click("One"), click("Send")), sure(0.7, click("Two"), click("Send"))],
        (ONE,): [sure(0.1, click("Send"))],
        (TWO,): [sure(0.9, click("Send"))],
        (ONE, SEND): [sure(0.1, click("One"))], (TWO, SEND): [sure(0.9, click("One"))],
    })  # fmt: skip
    (decision,) = act_all([Mcts(TOOLS, 3, budget=12)], planner, [state()])
    assert decision.step == click("Two") and decision.action is not None
    assert decision.plan.forecast[0] == click("Two") and "of 2 first steps" in decision.note
    assert (decision.calls, decision.tokens, len(planner.asked)) == (12, 36, 12)
    assert {len(history) + horizon for history, horizon in planner.asked} == {3}
    assert any(history == (TWO, SEND) for history, _ in planner.asked)


def test_the_search_spends_its_budget_whatever_it_finds_and_begins_anew_in_each_state():
    agent = Mcts(OwnCoordinates(), 2, budget=3, retries=9)
    nowhere = sure(0.9, click("Send", shown=elements("One")))
    planner = Sure({(): [nowhere, sure(None), sure(0.2, click("One"))], (ONE,): [sure(0.5, click("Two"))]})
    for _ in range(2):
        (decision,) = act_all([agent], planner, [state()])
        assert (decision.step, decision.calls) == (click("One"), 3)
    planner = Sure({(): [sure(None)]})
    (decision,) = act_all([agent], planner, [state()])
    assert decision.action is None and decision.reason == "unparsable: nothing" and decision.calls == 3
    with pytest.raises(NoConfidence, match="how probable"):
        act_all([agent], Fixed(plan(click("One"))), [state()])


def test_a_search_and_other_agents_are_forecast_together():
    planner = Sure({(): [sure(0.9, click("One"))], (ONE,): [sure(0.9, click("Two"))]})
    decisions = act_all([Mcts(TOOLS, 2, budget=4), Anticipatory(TOOLS, 2)], planner, [state(), state()])
    assert [decision.calls for decision in decisions] == [4, 1]


def test_the_prompted_agent_asks_in_words_and_takes_a_model_at_its_word():
    agent = Prompted(TOOLS, 5)
    shown = agent.view(state())
    assert agent.wants(shown) == 5 and "cannot see further than 2 steps" in shown.observation
    steps = (click("One"), click("Two"), click("Send"))
    decision = agent.act(state(), Plan(text="{...} I cannot see further.", forecast=steps))
    assert decision.step == click("One") and decision.plan.forecast == steps[:2]
    assert decision.note == "the planner sees no further than 2 steps" and agent.left == steps[1:2]
    decision = agent.act(state(), Plan(text="{...}", forecast=steps))
    assert decision.note == "" and agent.left == steps[1:]


@pytest.mark.parametrize("make", [React, Anticipatory, Blind, Cot, Prompted])
@pytest.mark.parametrize(
    ("answer", "reason"),
    [(UNPARSABLE, "unparsable: unknown action"), (plan(), "unparsable: the forecast is empty"), (None, "no forecast")],
)
def test_without_a_step_every_agent_gives_up_and_says_why(make, answer, reason):
    decision = make(TOOLS, 3).act(state(), answer)
    assert decision.action is None
    assert reason in decision.reason


def test_what_cannot_be_grounded_is_not_executed():
    later = click("Send", shown=elements("One"))
    decision = React(OwnCoordinates(), 5).act(state(), plan(later))
    assert decision.action is None
    assert "'own' finds nothing" in decision.reason
    assert decision.step == later


def test_states_are_forecast_together_by_how_far_they_are_wanted():
    planner = Fixed(plan(click("One"), click("Two")))
    going_on = Blind(TOOLS, 5)
    going_on.act(state(), plan(click("One"), click("Send")))
    agents = [React(TOOLS, 5), Anticipatory(TOOLS, 5), React(TOOLS, 5), going_on, Blind(TOOLS, 5)]
    decisions = act_all(agents, planner, [state()] * 5)
    assert planner.asked == [(2, 1), (2, 5)]
    assert [decision.step for decision in decisions] == [click("One")] * 3 + [click("Send"), click("One")]
    assert [decision.plan is None for decision in decisions] == [False] * 3 + [True, False]


def test_the_check_is_off_by_default():
    agent = Anticipatory(TOOLS, 2)
    for _ in range(4):
        assert agent.act(state(), plan(click("One"), click("Two"))).step == click("One")
    assert agent.skipped == []


def test_the_check_skips_a_step_that_just_changed_nothing():
    agent = Anticipatory(TOOLS, 2, check=True)
    assert agent.act(state(), plan(click("One"), click("Two"))).step == click("One")
    assert agent.act(state(), plan(click("One"), click("Two"))).step == click("Two")
    assert agent.skipped == ["it repeats the last step, which changed nothing"]


def test_a_repeated_step_that_gets_somewhere_is_no_failure():
    agent = Anticipatory(TOOLS, 2, check=True)
    agent.act(state(shown=elements("One", "Two")), plan(click("One"), click("Two")))
    assert agent.act(state(), plan(click("One"), click("Two"))).step == click("One")


def test_the_check_skips_what_the_screen_does_not_show():
    agent = Anticipatory(TOOLS, 2, check=True)
    shown = elements("One", "Two")
    assert agent.act(state(shown=shown), plan(click("Send", shown), click("Two"))).step == click("Two")
    assert agent.skipped == ["the screen does not show its target"]


def test_the_check_breaks_a_loop_of_two():
    agent = Anticipatory(TOOLS, 3, check=True)
    here, there = elements("One", "Two"), SCREEN
    for _ in range(2):
        agent.act(state(shown=here), plan(click("One")))
        agent.act(state(shown=there), plan(click("Two")))
    agent.act(state(shown=here), plan(click("One")))
    assert agent.act(state(shown=there), plan(click("Two"), click("Send"))).step == click("Send")
    assert agent.skipped == ["it closes a loop of 2 steps"]


def test_the_blind_agent_skips_too():
    agent = Blind(TOOLS, 3, check=True)
    agent.act(state(), plan(click("One"), click("One"), click("Two"), click("Send")))
    assert agent.act(state(), None).step == click("Two")
    assert agent.act(state(), None).step == click("Send")
    assert agent.skipped == ["it repeats the last step, which changed nothing"]


def test_where_every_step_is_refused_the_first_is_executed():
    agent = Anticipatory(TOOLS, 1, check=True)
    agent.act(state(), plan(click("One")))
    assert agent.act(state(), plan(click("One"))).step == click("One")
    assert agent.skipped == []
