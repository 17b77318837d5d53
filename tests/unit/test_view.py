"""Films of episodes and of recorded states: what they show, and how their page is written and served."""

import json
import re
import urllib.error
import urllib.request

import pytest

from tests.forecasts import sample
from tests.services import listening
from tests.traced import CONFIG, evaluated, played
from tracer.dataset import find
from tracer.evaluation.episodes import Episode
from tracer.evaluation.traces import TRACES
from tracer.forecast import reference
from tracer.lineage.digest import LineageError
from tracer.reporting.view import Library, server, write
from tracer.reward import trajectory_reward
from tracer.settings import ConfigError

HOSTILE = '</script><script>document.title = "run"</script><img src=x onerror=alert(1)> \u2028 "\\'
EPISODES = [Episode(strategy="anticipatory", task="near", split="test", seed=seed) for seed in (9000, 9001)]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run of two planners: recorded states, and two episodes of which the better planner solves both."""
    root = tmp_path_factory.mktemp("run")
    evaluated(root, sample(), {"base": 0.8, "stage2": 1.0})
    played(root / "online-base", EPISODES, lambda number: number == 0)
    played(root / "online-stage2", EPISODES, lambda number: True, HOSTILE, HOSTILE)
    return root


@pytest.fixture(scope="module")
def library(run):
    return Library([run])


def entry(library, kind, planner, place=0):
    found = [n for n, each in enumerate(library.entries) if (each["kind"], each["planner"]) == (kind, planner)]
    return found[place]


def read_call(script):
    """The name and the value of a script that is one call with one string of JSON."""
    found = re.fullmatch(r"tracer\.(list|film)\((.*)\);\n", script.decode(), re.DOTALL)
    return found[1], json.loads(json.loads(found[2]))


def test_the_list_says_of_each_film_what_it_is_chosen_by(library):
    first = library.entries[entry(library, "online", "base")]
    assert first == {
        "id": "online/base/anticipatory/near/9000", "kind": "online", "planner": "base", "agent": "anticipatory",
        "task": "near", "split": "test", "case": "anticipatory/near/9000", "verdict": "solved", "wrong": None,
        "turns": 3, "goal": "Click One",
    }  # fmt: skip
    second = library.entries[entry(library, "online", "base", 1)]
    assert (second["verdict"], second["wrong"]) == ("unparsable", 3)
    recorded = [each for each in library.entries if each["kind"] == "recorded" and each["planner"] == "base"]
    assert len(recorded) == 12 and {each["verdict"] for each in recorded} == {"right", "wrong"}
    assert all((each["wrong"] is None) == (each["verdict"] == "right") for each in recorded)


def test_an_episodes_forecasts_are_held_to_what_was_executed_later(library):
    film = library.film(entry(library, "online", "base"))
    came = [[step["came"] for step in turn["steps"]] for turn in film.document["turns"]]
    # One, Two and Send were executed: the second forecast expected One where Send came.
    assert came == [[True, True, True], [True, False], [True]]
    assert [turn["executed"]["text"] for turn in film.document["turns"]] == [
        f'click the button "{name}"' for name in ("One", "Two", "Send")
    ]
    assert {turn["screen"] for turn in film.document["turns"]} == set(film.pictures)
    failed = library.film(entry(library, "online", "base", 1)).document["turns"]
    assert [step["came"] for step in failed[0]["steps"]] == [True, True, None]
    assert (failed[2]["executed"], failed[2]["outcome"]) == (None, "unparsable: unknown action")


def test_recorded_states_show_what_was_done_and_the_rewards_terms(library, run):
    number = next(
        n for n, each in enumerate(library.entries) if each["verdict"] == "wrong" and each["kind"] == "recorded"
    )
    case = library.entries[number]
    film = library.film(number)
    trajectory = find(run / "ingest", case["case"])
    assert film.document["goal"] == trajectory.goal and len(film.document["turns"]) == case["turns"]
    for turn in film.document["turns"]:
        step = trajectory.steps[turn["number"] - 1]
        assert turn["reference"][0]["text"] == step.instruction and tuple(turn["target"]) == step.target
        assert turn["prompt"].startswith("goal ") and "button $1 0" in turn["prompt"]
    wrong = film.document["turns"][case["wrong"] - 1]
    assert wrong["outcome"] == "wrong" and (not wrong["steps"] or wrong["steps"][0]["came"] is False)
    right = next(
        n for n, each in enumerate(library.entries) if each["planner"] == "stage2" and each["verdict"] == "right"
    )
    turn = library.film(right).document["turns"][0]
    assert [step["came"] for step in turn["steps"]] == [True, True, True]
    whole = find(run / "ingest", library.entries[right]["case"])
    earned = trajectory_reward(reference(whole, 0, 3), reference(whole, 0, 3), CONFIG.reward)
    assert turn["reward"]["parts"]["total"] == pytest.approx(earned.total, abs=0.01)  # a forecast knows no boxes
    assert [step["similarity"] for step in turn["reward"]["steps"]] == [1.0, 1.0, 1.0]


def test_two_runs_are_told_apart_and_a_steps_folder_is_one(run):
    both = Library([run, run])
    assert {each["planner"] for each in both.entries} == {f"{run.name}/base", f"{run.name}/stage2"}
    assert {each["kind"] for each in Library([run / "online-base"]).entries} == {"online"}


def test_an_episode_that_is_being_played_can_be_watched_already(tmp_path):
    out = played(tmp_path / "online-base", EPISODES, lambda number: True)
    (out / "checkpoints").mkdir()
    rows = (out / "results.jsonl").read_bytes()
    (out / "results.jsonl").unlink()
    (out / "checkpoints" / "results.jsonl").write_bytes(rows + b'{"id": "half')
    with open(out / TRACES, "ab") as file:
        file.write(b'{"format": "half')
    library = Library([out])
    assert len(library.entries) == 2 and len(library.film(1).document["turns"]) == 3


def test_what_is_gone_is_said_in_the_film(run, tmp_path):
    alone = tmp_path / "evaluate-base"
    alone.mkdir()
    for name in ("results.jsonl", "lineage.json"):
        (alone / name).write_bytes((run / "evaluate-base" / name).read_bytes())
    made = json.loads((alone / "lineage.json").read_text(encoding="utf-8"))
    made["inputs"]["trajectories"]["path"] = "gone"
    (alone / "lineage.json").write_text(json.dumps(made), encoding="utf-8")
    film = Library([alone]).film(0)
    assert "gone does not contain test/" in film.document["reason"] and "ingest" in film.document["reason"]


def test_the_page_is_a_folder_that_needs_nothing_else(run, tmp_path):
    out = tmp_path / "page"
    films = write([run], out)
    page = (out / "index.html").read_text(encoding="utf-8")
    assert set(re.findall(r'(?:src|href)="([^"]+)"', page)) == {"data:,", "view.css", "view.js", "index.js"}
    name, value = read_call((out / "index.js").read_bytes())
    assert name == "list" and len(value["films"]) == films == len(list((out / "films").iterdir()))
    for number in range(films):
        name, film = read_call((out / "films" / f"{number}.js").read_bytes())
        assert name == "film" and film["number"] == number
        assert all((out / "screens" / turn["screen"]).is_file() for turn in film["turns"])
    assert write([run], out) == films  # over itself


def test_a_folder_of_something_else_is_left_alone(run, tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work", encoding="utf-8")
    with pytest.raises(LineageError, match="did not write"):
        write([run], tmp_path)
    with pytest.raises(ConfigError, match="contains no evaluation"):
        write([run / "ingest"], tmp_path / "page")
    with pytest.raises(ConfigError, match="is not a folder"):
        write([run / "nowhere"], tmp_path / "page")


@pytest.fixture(scope="module")
def address(run):
    with listening(server([run], port=0)) as serving:
        yield f"http://127.0.0.1:{serving.server_port}"


def get(address, **headers):
    return urllib.request.urlopen(urllib.request.Request(address, headers=headers), timeout=10)


def test_the_server_sends_the_page_and_each_film_with_its_pictures(address, library):
    for name, kind in (("", "text/html"), ("/view.css", "text/css"), ("/index.js", "text/javascript")):
        with get(address + name) as answer:
            assert answer.headers["Content-Type"].startswith(kind)
            assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    number = entry(library, "online", "stage2")
    with get(f"{address}/films/{number}.js") as answer:
        _, film = read_call(answer.read())
    assert film["goal"] == HOSTILE and film["turns"][0]["answer"] == HOSTILE
    assert all(film["pictures"][turn["screen"]].startswith("data:image/webp;base64,") for turn in film["turns"])


def test_the_server_answers_nobody_else_and_nothing_else(address):
    with pytest.raises(urllib.error.HTTPError, match="403"):
        get(address, Host="evil.example")
    for name in ("/films/9999.js", "/films/-1.js", "/../pyproject.toml", "/films/0.js/..", "/lineage.json"):
        with pytest.raises(urllib.error.HTTPError, match="404"):
            get(address + name)


def test_a_port_that_is_taken_is_said(address, run):
    with pytest.raises(LineageError, match="--port 0"):
        server([run], port=int(address.rpartition(":")[2]))
