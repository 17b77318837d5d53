"""The report: everything on one page, every text escaped, nothing fetched, the same bytes each time."""

import json
import re
from html.parser import HTMLParser
from urllib.parse import unquote

import pytest

from tests.forecasts import Oracle, sample, shards
from tracer import json_lines
from tracer.config import Config
from tracer.evaluation import offline, online
from tracer.json_files import write_json
from tracer.lineage.digest import LineageError
from tracer.lineage.step import run_step
from tracer.reporting.charts import Dots, Series, dot_chart, line_chart, running_mean, ticks
from tracer.reporting.gallery import pick
from tracer.reporting.links import HOST, PORT
from tracer.reporting.report import claims, report
from tracer.reporting.tables import number, offline_tables, online_tables, results_table, signed, skipped
from tracer.statistics import mean_interval

CONFIG = Config(profile="demo", seed=3, planner={"horizon": 3}, evaluation={"resamples": 200, "episodes": 2})
RIGHT = {"base": 0.2, "stage1": 0.6, "stage2": 0.95}
FILM = f"http://{HOST}:{PORT}/#"
HOSTILE = 'a<script>alert(1)</script> "&" b'


def step(name, out, inputs, body):
    run_step(
        name, config={"out": out.name}, inputs=inputs, out=out, module=offline.__name__, body=body, seed=CONFIG.seed
    )
    return out


def played(right, config=CONFIG):
    """Rows of online episodes, solved up to a share of the pages, and only in the first run."""

    def body(out):
        rows = []
        for index, episode in enumerate(online.episodes(config)):
            solved = not episode.run and (index * 7919 % 100) / 100 < right * (
                1.0 if episode.strategy == "anticipatory" else 0.5
            )
            rows.append(
                {
                    "id": episode.id, "strategy": episode.strategy, "task": episode.task, "split": episode.split,
                    "seed": episode.seed, "run": episode.run, "success": float(solved), "steps": 3,
                    "calls": 3, "tokens": 30,
                    "first_wrong": None if solved else 2,
                    "goal": "",
                    "reason": "solved" if solved else "failed: the page says so",
                }
            )  # fmt: skip
        json_lines.write(out / "results.jsonl", [row for row in rows if not row["run"]])
        write_json(out / "scores.json", online.score(config, rows))
        return {}

    return body


def trained(parts):
    def body(out):
        lines = [
            {"step": at, "reward": at / 40, "dead_groups": 0.5, "unparsable": 0.1}
            | {f"rewards/{part}/mean": at / 80 for part in parts}
            for at in range(1, 21)
        ]
        (out / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        return {}

    return body


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("build")
    known = sample()
    hostile = known[0]
    known[0] = type(hostile)(
        id=hostile.id, source="test", split=hostile.split, task=hostile.task, goal=HOSTILE, steps=hostile.steps,
        outcome="success",
    )  # fmt: skip
    data = step(
        "ingest", root / "trajectories", {}, lambda out: shards(out, known) and {"trajectories": 12, "steps": 36}
    )
    found = {"trajectories": data}
    for name, right in RIGHT.items():
        oracle = Oracle(known, right=right, parsed=0.9)
        found[f"evaluate-{name}"] = step(
            "evaluate", root / f"evaluate-{name}", {"trajectories": data},
            lambda out, oracle=oracle: offline.run(CONFIG, data, oracle, out, offline.SPLITS),
        )  # fmt: skip
        found[f"online-{name}"] = step("online", root / f"online-{name}", {}, played(right))
    for name, parts in (("stage1", ("align", "repetition")), ("stage2", ("grounded",))):
        found[name] = step(name, root / name, {"trajectories": data}, trained(parts))
    return found


@pytest.fixture(scope="module")
def page(folders, tmp_path_factory):
    out = tmp_path_factory.mktemp("report") / "report"
    report(CONFIG, folders, out)
    return (out / "report.html").read_text()


class Strict(HTMLParser):
    """Collects tags and links, and notices a tag that is never closed."""

    def __init__(self):
        super().__init__()
        self.open, self.seen, self.links, self.wrong = [], [], [], []

    def handle_starttag(self, tag, attributes):
        self.seen.append(tag)
        self.links += [value for name, value in attributes if name in ("src", "href", "xlink:href", "action")]
        if tag not in ("meta", "link", "img", "br"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.seen.append(tag)

    def handle_endtag(self, tag):
        if self.open and self.open[-1] == tag:
            self.open.pop()
        else:
            self.wrong.append(tag)


@pytest.fixture(scope="module")
def parsed(page):
    parser = Strict()
    parser.feed(page)
    return parser


def test_every_tag_is_closed(parsed):
    assert parsed.wrong == [] and parsed.open == []


def test_nothing_is_fetched_and_nothing_runs(page, parsed):
    assert "script" not in parsed.seen
    links = [link for link in parsed.links if not link.startswith(("#", "data:"))]
    assert links and all(link.startswith(FILM) for link in links)  # followed by a click, and loaded by nobody else
    assert not re.search(r"url\(|@import|https?://", page.replace(f'<a href="{FILM}', "<a"))


def test_the_gallery_shows_failures_first_and_leads_to_the_films(page, folders):
    chips = re.findall(r'<summary><span class="chip (right|wrong)">', page)
    assert len(chips) == 9 and chips == sorted(chips, reverse=True)
    rows = {
        (row["trajectory"], row["step_index"]) for row in json_lines.read(folders["evaluate-base"] / "results.jsonl")
    }
    linked = re.findall(re.escape(FILM) + r'(recorded%2F[^"&]+)&amp;turn=(\d+)"', page)
    assert len(linked) == 3 * 9
    assert {(unquote(film).split("/", 2)[2], int(turn) - 1) for film, turn in linked} <= rows
    watched = re.findall(r'class="chip (right|wrong)">.</span> <a href="' + re.escape(FILM) + r'(online[^"&]+)', page)
    kinds = [kind for kind, _ in watched]
    assert "wrong" in kinds and kinds == sorted(kinds, reverse=True)
    assert {unquote(film).split("/")[1] for _, film in watched} == {"stage2"}


def test_the_verdict_comes_first_and_says_what_was_trained_and_what_it_cost(page, folders):
    first = page.index('class="verdict')
    assert first < page.index("<svg") and first < page.index('id="results"')
    assert page.index("The data are 12 trajectories of 36 steps.") < first
    seconds = json.loads((folders["stage1"] / "lineage.json").read_text(encoding="utf-8"))["seconds"]
    assert f'<th scope="row">stage1</th><td>{seconds:.0f}</td>' in page
    tokens = 30 * len(json_lines.read(folders["online-base"] / "results.jsonl"))
    assert f"<td>{tokens}</td></tr>" in page


def test_texts_from_data_are_escaped(page):
    assert "<script>" not in page


def test_the_page_shows_every_part(page, parsed):
    for anchor in ("results", "online", "curves", "gallery", "pages", "lineage", "limits"):
        assert f'id="{anchor}"' in page
    # A picture a planner for each exhibit; two charts a stage and, per split, the scores and how far ahead.
    assert page.count("data:image/png;base64,") == 3 * 9
    assert parsed.seen.count("svg") == 4 + 2 + 2
    assert "Stage 2 takes more right steps than stage 1" in page
    assert "prefers-color-scheme: dark" in page


def test_the_numbers_of_the_page_are_those_of_the_scores(page, folders):
    scores = json.loads((folders["evaluate-stage2"] / "scores.json").read_text())
    mean = scores["splits"]["heldout"]["metrics"]["step"]["mean"]
    assert f"<b>{100 * mean:.1f}</b>" in page


def test_lineage_is_shown_in_full(page, folders):
    for name in ("trajectories", "stage1", "evaluate-stage2", "online-base"):
        lineage = json.loads((folders[name] / "lineage.json").read_text())
        assert lineage["digest"] in page and lineage["output"] in page
        assert lineage["started"] not in page


def test_the_same_folders_give_the_same_page(page, folders, tmp_path):
    report(CONFIG, folders, tmp_path / "again")
    assert (tmp_path / "again" / "report.html").read_text() == page


def test_claims_are_only_shown_where_the_difference_is(folders, tmp_path):
    metrics = report(CONFIG, folders, tmp_path / "ours")["metrics"]
    assert metrics["shown"] >= 3 and metrics["reversed"] == 0
    swapped = {**folders, "evaluate-stage1": folders["evaluate-stage2"], "evaluate-stage2": folders["evaluate-base"]}
    assert report(CONFIG, swapped, tmp_path / "swapped")["metrics"]["reversed"] >= 1


def test_a_report_of_one_planner_and_no_browser_is_a_report(folders, tmp_path):
    quiet = step("online", tmp_path / "online-base", {}, lambda out: online.skip(out, "no Chromium found"))
    few = {"trajectories": folders["trajectories"], "evaluate-base": folders["evaluate-base"], "online-base": quiet}
    report(CONFIG, few, tmp_path / "report")
    page = (tmp_path / "report" / "report.html").read_text()
    assert "no Chromium found" in page and 'id="online"' not in page and 'id="curves"' not in page
    assert skipped(few) == {"online-base": "no Chromium found"}
    assert "online-base: skipped, no Chromium found" in results_table(few, 50)


def test_a_report_needs_finished_folders(folders, tmp_path):
    with pytest.raises(ValueError, match="evaluate-<planner>"):
        report(CONFIG, {"trajectories": folders["trajectories"]}, tmp_path / "report")
    (tmp_path / "half").mkdir()
    (tmp_path / "half" / ".started.json").write_text("{}")
    with pytest.raises(LineageError, match="unfinished"):
        report(CONFIG, {**folders, "stage2": tmp_path / "half"}, tmp_path / "report")


def test_the_gallery_is_drawn_by_the_seed_each_page_before_any_twice():
    rows = [
        {"trajectory": f"{task}/{n}", "step_index": 0, "task": task, "split": split}
        for split, tasks in (("heldout", "abcd"), ("test", "xy"))
        for task in tasks
        for n in range(5)
    ]
    chosen = pick(rows, 9, seed=0)
    assert [row["split"] for row in chosen] == ["heldout"] * 6 + ["test"] * 3
    assert {row["task"] for row in chosen[:4]} == set("abcd")
    assert pick(list(reversed(rows)), 9, seed=0) == chosen
    assert pick(rows, 9, seed=1) != chosen


def test_tables_hold_each_planner_and_the_differences(folders):
    tables = offline_tables(folders, 200)
    assert [table.split for table in tables] == ["test", "heldout"]
    line = tables[1].line("step")
    apart = line.differences["base", "stage1"]
    assert apart.interval.mean == pytest.approx(line.scores["stage1"].mean - line.scores["base"].mean)
    assert apart.test is not None and apart.better is True
    assert tables[1].line("similarity").differences["stage1", "stage2"].test is None
    assert [line.key for line in online_tables(folders, 200)[0].lines] == ["anticipatory", "react", "blind"]


def test_a_planner_that_was_not_played_is_left_out_and_the_others_are_compared(folders, tmp_path):
    """As in profile demo, where stage 1 is not played."""

    def unplayed(out):
        write_json(out / "scores.json", {"skipped": "nobody asked"})
        return {}

    chosen = folders | {"online-stage1": step("online-stage1", tmp_path / "online-stage1", {}, unplayed)}
    table = online_tables(chosen, 200)[0]
    assert table.planners == ("base", "stage2") and table.pairs == [("base", "stage2")]
    assert [set(line.scores) for line in table.lines] == [{"base", "stage2"}] * 3
    assert "blind" in results_table(chosen, 200)
    found = claims(offline_tables(chosen, 200), online_tables(chosen, 200))
    assert [len(claim["findings"]) for claim in found] == [2, 2, 2]
    report(CONFIG, chosen, tmp_path / "report")
    page = (tmp_path / "report" / "report.html").read_text(encoding="utf-8")
    assert "What it costs" in page and "online-stage1 was not run: nobody asked" in page
    assert "None steps" not in page


def test_identical_runs_stand_beside_the_score(folders, page, tmp_path):
    config = CONFIG.model_copy(update={"evaluation": CONFIG.evaluation.model_copy(update={"online_repeats": 2})})
    repeated = step("online-stage2", tmp_path / "online-stage2", {}, played(0.5, config))
    report(config, folders | {"online-stage2": repeated}, tmp_path / "report")
    text = (tmp_path / "report" / "report.html").read_text(encoding="utf-8")
    runs = json.loads((repeated / "scores.json").read_text())["runs"]["anticipatory"]["test"]
    assert runs[0] > runs[1] == 0
    assert "success, run by run" in text and ", ".join(number(run, "success") for run in runs) in text
    assert "success, run by run" not in page


def test_the_plain_table_lines_up(folders):
    text = results_table(folders, 200)
    assert "tasks never trained on (24 states of 8 trajectories)" in text
    assert "online task success, tasks never trained on" in text
    header, *lines = text.split("\n\n")[0].splitlines()[1:]
    for column in ("base", "stage 1", "stage 2", "stage 1 - base", "stage 2 - stage 1", "stage 2 - base"):
        at = header.index(column)
        assert all(line[at] != " " and line[at - 1] == " " for line in lines)


@pytest.mark.parametrize(
    ("value", "metric", "plain", "with_sign"),
    [
        (0.613, "step", "61.3", "+61.3"),
        (-0.02, "step", "-2.0", "-2.0"),
        (-0.0001, "step", "-0.0", "0.0"),
        (0.0, "step", "0.0", "0.0"),
        (2.414, "prefix", "2.41", "+2.41"),
        (None, "step", "-", "-"),
    ],
)
def test_numbers_are_written_as_shares_or_steps(value, metric, plain, with_sign):
    assert number(value, metric) == plain
    assert signed(value, metric) == with_sign


@pytest.mark.parametrize(("low", "high"), [(0, 1), (-0.3, 0.7), (0, 0.0004), (-12, 3), (0, 0), (2.2, 2.3)])
def test_an_axis_holds_its_values_at_round_ticks(low, high):
    bottom, top, distance = ticks(low, high)
    assert bottom <= low and high <= top and top > bottom
    assert 1 <= round((top - bottom) / distance) <= 9


def test_charts_are_drawn_from_their_points():
    svg = line_chart([Series(name="reward", points=((1, 0.0), (2, 1.0)))], "a <b> & c")
    assert svg.count("<polyline") == 2 and "a &lt;b&gt; &amp; c" in svg
    assert line_chart([Series(name="none", points=())], "nothing") == ""
    ahead = line_chart([Series(name="stage 1", points=tuple((k, 0.5) for k in range(1, 5)))], "ahead", share=True)
    assert [f">{k}</text>" in ahead for k in range(1, 6)] == [True, True, True, True, False]
    assert running_mean([(1, 0.0), (2, 3.0), (3, 6.0)]) == [(1, 1.5), (2, 3.0), (3, 4.5)]
    dots = dot_chart([Dots(name="step", intervals=(mean_interval([0, 1], resamples=50), None))], "dots")
    assert dots.count("<circle") == 1
