from __future__ import annotations

import json
import os
import re
from html import unescape
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path, PurePath
from typing import Any

import attrs
import numpy as np
import pytest
import yaml
from aamc_experiments.evaluation import metrics
from aamc_report import report
from aamc_report.formats import DASH, fixed, listed
from aamc_report.page import Page as NakedPage
from aamc_report.page import render_page
from aamc_report.report import summary, write_report
from aamc_report.result_files import read_results
from aamc_report.results import Gate
from aamc_report.sections import DRAWINGS, sections
from aamc_report.sections.answer_lengths import length_tables
from aamc_report.sections.categories import success_tables
from aamc_report.sections.comparison import COLUMNS, further_tables, gate_tables, paired_tables, section
from aamc_report.sections.cost_quality import cost_of_quality_tables
from aamc_report.sections.destinations import Destinations
from aamc_report.sections.groups import groups
from aamc_report.tables import Cell

from aamc_sdk.errors import CheckpointError, OutputError
from aamc_sdk.routing import LinearReward
from aamc_sdk.types import text_hash

pytestmark = pytest.mark.one_python

QUERIES = 240
VOID = {"meta", "br"}
Cells = list[tuple[str, str]]


class Page(HTMLParser):
    """Checks that elements close in the order they opened, and gathers tables, ids and references."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tables: dict[str, dict[str, Cells]] = {}
        self.ids: list[str] = []
        self.tags: list[str] = []
        self.references: list[str] = []
        self.feed(text)
        self.close()
        assert not self.open

    def table(self, caption: str) -> dict[str, Cells]:
        """Return the first table whose caption begins so: each row's cells, value and text, by its name."""
        return next(rows for title, rows in self.tables.items() if title.startswith(caption))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.tags.append(tag)
        if found.get("id"):
            self.ids.append(str(found["id"]))
        self.references += [str(found[key]) for key in ("href", "aria-labelledby", "aria-describedby") if found.get(key)]
        self.references += re.findall(r"url\((#[^)]*)\)", " ".join(str(value) for value in found.values()))
        if tag == "td":
            self.cells.append((str(found["data-value"]), ""))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-2:] == ["caption", "span"]:
            self.rows = self.tables.setdefault(data, {})
        elif self.open and self.open[-1] == "td":
            value, _ = self.cells[-1]
            self.cells[-1] = (value, data.strip())
        elif self.open[-3:] == ["tbody", "tr", "th"]:
            self.cells = self.rows.setdefault(data, [])


def page_of(folder: Path) -> str:
    return write_report(folder).read_text(encoding="utf-8")


@pytest.fixture
def text(reported: Path) -> str:
    """The page of a run with everything in it."""
    return (reported / "report.html").read_text(encoding="utf-8")


@pytest.fixture
def without_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Draw none, which takes most of the time."""
    monkeypatch.setattr(report, "DRAWINGS", ())


def metrics_of(folder: Path) -> dict[str, Any]:
    return dict(json.loads((folder / "metrics.json").read_text())["routers"])


def test_a_report_has_every_figure_in_the_page_and_as_a_file(text: str, reported: Path) -> None:
    folder = reported
    assert [name.name for name in sorted((folder / "figures").iterdir())] == sorted(f"{drawing.name}.png" for drawing in DRAWINGS)
    assert all((folder / "figures" / f"{drawing.name}.png").read_bytes().startswith(b"\x89PNG") for drawing in DRAWINGS)
    assert text.count("<svg ") == len(DRAWINGS)
    assert all(f'role="img" aria-label="{drawing.title}"' in text for drawing in DRAWINGS)


@pytest.mark.usefixtures("without_figures")
def test_the_title_has_the_router_the_data_and_the_date(make_run: Any) -> None:
    folder = make_run()
    path = folder / "run.yaml"
    content = yaml.safe_load(path.read_text())
    path.write_text(yaml.safe_dump({**content, "date": "2026-02-03T04:05:06+00:00"}))
    source = PurePath(json.loads((folder / "metrics.json").read_text())["data"]["source"]).name
    text = page_of(folder)
    assert f"<h1>ppo on {source}, 2026-02-03</h1>" in text
    assert f"<title>ppo on {source}, 2026-02-03: AAMC routing report</title>" in text
    assert "<dt>Date</dt><dd>2026-02-03</dd>" in text
    path.write_text(yaml.safe_dump(content))  # an earlier version recorded no date: that of the measurement counts
    os.utime(folder / "metrics.json", (86400 * 365, 86400 * 365))
    assert ", 1971-01-01</h1>" in page_of(folder)


def test_few_queries_carry_a_warning(make_run: Any) -> None:
    results = read_results(make_run())
    assert section(results).lead == ""
    decisions = results.decisions
    few = attrs.evolve(results, decisions=attrs.evolve(decisions, queries=decisions.queries[:120], stream=decisions.stream[:120]))
    assert section(few).lead.startswith("Only 120 queries: differences may be chance.")
    repeated = attrs.evolve(results, decisions=attrs.evolve(decisions, stream=decisions.stream % 30))
    assert section(repeated).lead.startswith(f"Only 30 questions in {results.queries} queries: differences may be chance.")


def test_the_notes_give_the_gain_over_the_starting_rule_and_the_warm_up(make_run: Any) -> None:
    results = read_results(make_run())
    trust = {"factor": 1.0, "gain": 0.0015, "ci95": [0.0011, 0.002]}
    routers = {**results.routers, "ppo": {**results.routers["ppo"], "trust": trust}}
    notes = " ".join(section(attrs.evolve(results, routers=routers, data={**results.data, "warm_up": 48, "steps": 64})).notes)
    assert "ppo gains 0.0015 (0.0011 to 0.0020) of mean reward over its starting rule, greedy" in notes
    assert "Each stream: 48 queries of warm-up, then 64 that count." in notes


def test_the_page_is_well_formed_and_its_ids_are_unique_and_found(text: str) -> None:
    page = Page(text)
    assert len(page.ids) == len(set(page.ids))
    assert {reference.removeprefix("#") for reference in page.references} <= set(page.ids)
    assert len(page.references) > 10


def test_the_page_asks_nothing_of_any_other_place(text: str) -> None:
    assert "http" not in text
    assert not re.search(r"\b(src|href)=\"(?!#)", text)
    assert not {"link", "iframe", "img"} & set(Page(text).tags)
    assert "@import" not in text


def test_headings_are_one_below_another_and_tables_say_what_they_head(text: str) -> None:
    levels = [int(tag[1]) for tag in Page(text).tags if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    assert text.count("<th ") == text.count('<th scope="row"') + text.count('<th scope="col"')
    assert text.count("<table") == text.count("<caption>")


def test_no_region_has_the_name_of_a_section(text: str) -> None:
    sections = re.findall("<h2 id=.*?>(.*?)</h2>", text)
    assert not set(sections) & set(re.findall('role="region" aria-label="(.*?)"', text))


def test_the_comparison_comes_first_and_its_numbers_are_those_of_the_metrics(text: str, reported: Path) -> None:
    rows = Page(text).table("Every router answered")
    expected = {name: [repr(metrics[column.key]) for column in COLUMNS] for name, metrics in metrics_of(reported).items()}
    assert {name: [value for value, _ in row] for name, row in rows.items()} == expected
    ppo = metrics_of(reported)["ppo"]
    low, high = (f"{100 * bound:.1f}" for bound in ppo["ci95"]["success_rate"])
    assert rows["ppo"][0][1] == f"{100 * ppo['success_rate']:.1f}%"
    assert f"<small>{low}{DASH}{high}%</small>" in text
    assert text.index("<table") < text.index("<svg")


def test_success_by_category_and_shares_of_models_are_those_of_the_metrics(text: str, reported: Path) -> None:
    page, routers = Page(text), list(metrics_of(reported).values())
    for name, cells in page.table("Success rate at the preference").items():
        assert [value for value, _ in cells] == ["30.0", *(repr(metrics["per_category"][name]["success_rate"]) for metrics in routers)]
    for name, cells in page.table("Share of queries that each router").items():
        assert [value for value, _ in cells] == [repr(metrics["model_share"][name]) for metrics in routers]


def test_numbers_about_the_decisions_are_those_of_decisions_npz(text: str, reported: Path) -> None:
    with np.load(reported / "decisions.npz") as saved:
        chosen, quality, category = saved["chosen"][0, 0], saved["quality"], saved["category"]
        expected, candidates, oracle = saved["expected_quality"][0], saved["candidates"].tolist(), saved["chosen"][8, 0]
    page, rows = Page(text), np.arange(len(chosen))
    failed = quality[rows, chosen] < 0.5
    everything, code = (page.table("Share of each category's queries that ppo failed")[name] for name in ("All queries", "code"))
    none = failed & (quality < 0.5).all(axis=1)
    overrated = failed & ~none & (expected[rows, chosen] >= np.where(quality >= 0.5, expected, -1).max(axis=1))
    traded = failed & ~none & ~overrated
    assert [float(value) for value, _ in everything[1:]] == pytest.approx([mask.mean() for mask in (failed, none, overrated, traded)])
    assert float(code[1][0]) == pytest.approx(failed[category == "code"].mean())
    sent = page.table("Share of each category's queries that ppo gave")["math"]
    assert [float(value) for value, _ in sent[1:]] == pytest.approx([(chosen[category == "math"] == m).mean() for m in range(len(candidates))])
    regret = page.table("Regret of a query")["ppo"]
    reward = [_reward(reported, choice) for choice in (oracle, chosen)]
    assert float(regret[0][0]) == pytest.approx((reward[0] - reward[1]).mean())
    assert float(regret[3][0]) == pytest.approx((reward[0] - reward[1] <= 0.01).mean())


def _reward(folder: Path, chosen: Any) -> Any:
    """Return what the default reward gives each choice at 0.9,0.08,0.02."""
    with np.load(folder / "decisions.npz") as saved:
        quality, cost, latency = (saved[name][np.arange(len(chosen)), chosen] for name in ("quality", "cost_usd", "latency_ms"))
        (cheap, expensive), (quick, slow) = saved["scales"]
    return 0.9 * quality + 0.08 * (expensive - cost) / (expensive - cheap) + 0.02 * (slow - latency) / (slow - quick)


def test_disputed_questions_are_shown_with_their_texts_and_every_choice(text: str, reported: Path) -> None:
    with np.load(reported / "decisions.npz") as saved:
        hashes, chosen, routers = saved["queries"].tolist(), saved["chosen"][:, 0], saved["routers"].tolist()
        candidates = saved["candidates"].tolist()
    shown = [unescape(found) for found in re.findall('<blockquote dir="auto">(.*?)</blockquote>', text)]
    assert len(shown) == len(set(shown)) == 12
    query = hashes.index(text_hash(shown[0]))
    rows = re.findall(r'<th scope="row">(.*?)</th>', text[text.index(shown[0]) : text.index(shown[1])])
    said = {router: choice.split(": ")[0] for choice in rows for router in choice.split(": ")[1].split(", ")}
    assert said == {router: candidates[chosen[r, query]] for r, router in enumerate(routers)}


def test_without_texts_questions_are_named_by_their_hash(make_run: Any) -> None:
    results = read_results(make_run())
    (section,) = [section for section in sections(results, {}, {}) if section.name == "disputes"]
    assert [question.text for question in section.questions] == [None] * 12
    assert all(question.sha256 in results.decisions.queries for question in section.questions)
    assert "12 of 12 questions are named by the SHA-256" in section.notes[1]


def test_a_question_is_escaped_shortened_and_without_control_characters(make_run: Any) -> None:
    results = read_results(make_run())
    evil = "<script>alert(1)</script>\x1b\n" + "x" * 5000
    (section,) = [part for part in sections(results, {}, dict.fromkeys(results.decisions.queries.tolist(), evil)) if part.name == "disputes"]
    page = render_page(NakedPage(kind="", title="", summary="", facts={}, sections=[section], configuration={}))
    assert page.count('<blockquote dir="auto">&lt;script&gt;alert(1)&lt;/script&gt; \nxxx') == 12
    assert page.count("<script>") == 1
    assert len(page) < 60_000


def test_letters_that_no_font_has_are_named(make_run: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr("aamc_report.style.fontManager.get_font_names", lambda: ["DejaVu Sans"])
    write_report(make_run(candidates=("Gr\u00f6\u00dfe", "\u65e5\u672c", "a\u200d", *"cdef")))
    (record,) = caplog.records
    assert record.getMessage().startswith("the PNG figures show boxes for \u65e5\u672c: ")


def test_a_report_on_a_path_that_is_not_utf_8_is_written(make_run: Any) -> None:
    folder = make_run()
    metrics = json.loads((folder / "metrics.json").read_text())
    metrics["data"]["source"] = os.fsdecode(b"/data/Gr\xf6\xdfe")
    (folder / "metrics.json").write_text(json.dumps(metrics))
    assert "/data/Gr??e" in write_report(folder).read_text(encoding="utf-8")


def test_the_headline_is_compared_with_constant_choices_in_words(make_run: Any) -> None:
    """llm-only and best-single ask the same model here, so they are one."""
    results = read_results(make_run())
    decisions, rows = results.decisions, np.arange(240)
    chosen = decisions.chosen[0, 0]
    gained = (decisions.quality[rows, chosen] >= 0.5).astype(float) - (decisions.quality[:, 6] >= 0.5)
    low, high = 100 * np.quantile(results.resamplings[0].means(gained[:, None])[:, 0], (0.025, 0.975))
    saved = 100 * (decisions.cost_usd[rows, chosen].mean() / decisions.cost_usd[:, 6].mean() - 1)
    told = summary(results)
    assert f"Compared with llm-only and best-single (LLM-XLarge): success {100 * gained.mean():+.1f} points ({low:+.1f} to {high:+.1f})" in told
    assert f"cost {saved:+.1f}% (" in told
    assert "gate" not in told


def test_rivals_that_ask_different_models_are_named_apart_and_the_gate_has_its_say(make_run: Any) -> None:
    results = read_results(make_run(routers=("ppo", "llm-only", "best-single"), latency=False))
    results.decisions.chosen[2, 0] = 3
    told = summary(attrs.evolve(results, gate=Gate("", {"ppo": False, "llm-only": True}, {})))
    assert told.index("Compared with llm-only (LLM-XLarge): ") < told.index("Compared with best-single (LLM-Code): ")
    assert "latency" not in told
    assert told.endswith("It does not pass the promotion gate.")


def test_without_rivals_nothing_is_claimed(make_run: Any) -> None:
    assert summary(read_results(make_run(routers=("ppo", "oracle")))) == ""


def test_with_one_candidate_there_is_nothing_to_choose(make_run: Any) -> None:
    results = read_results(make_run(routers=("random", "llm-only"), candidates=("small",), latency=False))
    assert summary(results) == "There is nothing to choose: small is the only candidate, and every router gives the queries to it."
    assert not any("One candidate" in note for note in sections(results, {}, {})[0].notes)


def test_names_are_listed_as_in_a_sentence() -> None:
    assert [listed(["a", "b", "c"][:n]) for n in range(4)] == ["", "a", "a and b", "a, b and c"]


def test_routers_that_chose_one_candidate_are_named_with_it(make_run: Any) -> None:
    notes = sections(read_results(make_run()), {}, {})[0].notes
    assert (
        "At the preference, llm-only and best-single always choose LLM-XLarge; slm-only always chooses SLM-Medium. "
        "Routers with the same choice have equal figures there; expected utility and AIQ cover other preferences too."
    ) in notes


def test_the_configuration_is_folded_in(text: str, reported: Path) -> None:
    (shown,) = re.findall(r"<pre>(.*)</pre>", text, re.DOTALL)
    assert unescape(shown) == (reported / "run.yaml").read_text()


def test_a_simulation_has_a_report_too(make_run: Any) -> None:
    folder = make_run(routers=("ppo", "greedy", "oracle"), streams=True)
    page = Page(page_of(folder))
    assert {path.stem for path in (folder / "figures").iterdir()} == {drawing.name for drawing in DRAWINGS}
    assert [len(cells) for cells in page.table("Share of each category's queries that ppo failed").values()] == [2] * 9
    assert any(caption.startswith("The outcome of each choice") for caption in page.tables)


def test_the_tables_of_a_simulation_have_the_intervals_of_its_metrics(make_run: Any) -> None:
    results = read_results(make_run(routers=("ppo", "greedy", "oracle"), streams=True))
    everything, *_ = groups(results)
    values = results.decisions.success_cost_latency(0, results.run.settings.evaluation.success_threshold)
    _, of_cost, _ = (ends for _, ends in everything.means(values, results.resamplings))
    ((_, of_success),) = everything.shares(values[:, :1] > 0, results.resamplings)
    settings = results.run.settings
    stated = metrics(results.decisions, LinearReward(), settings.evaluation, seed=settings.seed)["routers"]["ppo"]["ci95"]
    assert of_cost == pytest.approx(stated["mean_cost_usd"])
    assert of_success == pytest.approx(stated["success_rate"])
    assert len(results.resamplings) == 3


def test_markup_in_names_is_text(make_run: Any) -> None:
    evil = "<script>alert(1)</script>"
    text = page_of(make_run(routers=("p{}o{0}", f"r{evil}", "$x_{$"), candidates=(f"m{evil}", "模型"), categories=(f"c{evil}", "a & b \x07", '"--')))
    assert evil not in text
    assert text.count("<script>") == 1
    assert "m&lt;script&gt;alert(1)&lt;/script&gt;" in text
    Page(text)


def test_further_measures_are_those_that_some_router_has(make_run: Any) -> None:
    folder = make_run(routers=("ppo", "greedy"))
    content = json.loads((folder / "metrics.json").read_text())
    content["routers"]["ppo"] |= {"hypervolume": 0.7123, "cpt50": None, "brier": None}
    content["routers"]["greedy"] |= {"hypervolume": None, "cpt50": 0.25, "brier": None}
    content["routers"]["ppo"]["ci95"]["hypervolume"] = [0.7, 0.75]
    (folder / "metrics.json").write_text(json.dumps(content))
    (table,) = further_tables(read_results(folder))
    assert [column.title for column in table.columns] == ["Hypervolume", "CPT(50%)"]
    assert [[(cell.text, cell.interval) for cell in row.cells] for row in table.rows] == [
        [("0.712", f"0.700{DASH}0.750"), (DASH, "")],
        [(DASH, ""), ("25.0%", "")],
    ]


def test_paired_tests_say_who_was_compared_and_what_chance_gives(make_run: Any) -> None:
    folder = make_run(routers=("ppo", "greedy"))
    content = json.loads((folder / "metrics.json").read_text())
    content["comparisons"] = [{"a": "ppo", "b": "greedy", "difference": 0.0123, "ci95": [-0.001, 0.025], "p": 0.0301, "p_holm": 0.0602}]
    (folder / "metrics.json").write_text(json.dumps(content))
    (table,) = paired_tables(read_results(folder))
    (row,) = table.rows
    assert row.names == ["ppo minus greedy"]
    assert [(cell.text, cell.interval) for cell in row.cells] == [("0.012", "-0.001 to 0.025"), ("0.0301", ""), ("0.0602", "")]


@pytest.mark.usefixtures("without_figures")
def test_the_errors_of_expected_lengths_have_a_section_of_their_own(make_run: Any) -> None:
    folder = make_run(routers=("ppo", "greedy"))
    assert "Lengths of answers" not in page_of(folder)
    content = json.loads((folder / "metrics.json").read_text())
    figures = {"n": 98, "mean_tokens": 85.4, "expected_tokens": 86.9, "mae_tokens": 18.4, "mae_tokens_of_mean": 31.2, "mae_cost_usd": 4.76e-5}
    figures |= {"mae_latency_ms": 212.3, "mae_latency_ms_ci95": [190.0, 230.0]}
    content["data"]["answer_lengths"] = {"small": {**figures, "mae_tokens_ci95": [14.8, 21.9], "mae_cost_usd_ci95": None}}
    (folder / "metrics.json").write_text(json.dumps(content))
    (table,) = length_tables(read_results(folder))
    (row,) = table.rows
    assert row.names == ["small"]
    assert [(cell.text, cell.interval) for cell in row.cells] == [
        ("98", ""),
        ("85", ""),
        ("87", ""),
        ("18", f"15{DASH}22"),
        ("31", ""),
        ("0.0476", ""),
        ("212", f"190{DASH}230"),
    ]
    assert "Lengths of answers" in page_of(folder)
    content["data"]["answer_lengths"] = {"small": 7}
    (folder / "metrics.json").write_text(json.dumps(content))
    with pytest.raises(CheckpointError, match="its 'answer_lengths' cannot be used"):
        page_of(folder)


@pytest.mark.usefixtures("without_figures")
def test_the_gates_verdict_heads_the_comparison_and_its_figures_follow_it(make_run: Any) -> None:
    folder = make_run(routers=("ppo", "greedy"))
    assert "promotion gate" not in page_of(folder)
    content = json.loads((folder / "metrics.json").read_text())
    passed = {"passed": True, "quality_gap": 0.0324, "reward_gap": 0.01, "oracle_share": 0.12}
    failed = {"passed": False, "quality_gap": -0.002, "reward_gap": -0.003, "oracle_share": None}
    intervals = {"quality_gap": [0.0084, 0.0525], "reward_gap": [-0.001, 0.02], "oracle_share": [0.02, 0.2]}
    unknown = dict.fromkeys(intervals)
    routers = {"ppo": {**passed, "ci95": intervals}, "greedy": {**failed, "ci95": unknown}}
    content["gate"] = {"router": "ppo", "passed": True, "why": "ppo passes the gate: <it> does well", "routers": routers}
    (folder / "metrics.json").write_text(json.dumps(content))
    text = page_of(folder)
    assert text.index('<h2 id="comparison">') < text.index("<p>ppo passes the gate: &lt;it&gt; does well.</p>") < text.index("Every router answered")
    (table,) = gate_tables(read_results(folder))
    assert [[(cell.text, cell.interval) for cell in row.cells] for row in table.rows] == [
        [("yes", ""), ("0.0324", f"0.0084{DASH}0.0525"), ("0.0100", "-0.0010 to 0.0200"), ("12.0%", f"2.0{DASH}20.0%")],
        [("no", ""), ("-0.0020", ""), ("-0.0030", ""), (DASH, "")],
    ]
    del content["gate"]["routers"]["greedy"]["ci95"]
    (folder / "metrics.json").write_text(json.dumps(content))
    with pytest.raises(CheckpointError, match="its 'gate' cannot be used"):
        read_results(folder)


def test_what_quality_costs_is_a_share_of_the_best_candidates_cost_with_an_open_end(make_run: Any) -> None:
    folder = make_run(routers=("ppo", "random"))
    content = json.loads((folder / "metrics.json").read_text())
    content["routers"]["ppo"] |= {"cost_at_quality": {"0.97": 0.191, "1.00": None}, "cost_at_quality_ci95": {"0.97": [0.15, None], "1.00": None}}
    (folder / "metrics.json").write_text(json.dumps(content))
    (table,) = cost_of_quality_tables(read_results(folder))
    assert [column.title for column in table.columns] == ["97%", "100%"]
    assert [[(cell.text, cell.interval) for cell in row.cells] for row in table.rows] == [[("19.1%", "from 15.0%"), (DASH, "")], [(DASH, "")] * 2]


def test_an_interval_with_a_minus_sign_has_no_dash_before_it() -> None:
    assert Cell(-0.1, fixed(3), (-0.2, -0.05)).interval == "-0.200 to -0.050"


def test_what_is_unknown_is_a_dash_and_has_no_figure(make_run: Any) -> None:
    folder = make_run(routers=("random",), candidates=("small",), categories=("",), latency=False, curves=False)
    page = Page(page_of(folder))
    assert [text for value, text in page.table("Every router answered")["random"] if value == ""] == [DASH, DASH]
    assert {path.stem for path in (folder / "figures").iterdir()} == {"cost_quality", "comparison", "models", "destinations"}
    assert set(page.table("Share of each category's queries that random failed")) == {"All queries"}
    absent = ("Metrics by which papers", "Success rate at", "Regret", "The outcome of each choice")
    assert not any(caption.startswith(absent) for caption in page.tables)


def test_of_thousands_of_categories_models_and_routers_the_most_frequent_are_shown(make_run: Any) -> None:
    categories = tuple(f"category {n}" for n in range(QUERIES - 40))  # the first 40 have two queries each
    routers, candidates = (tuple(f"{kind} {n}" for n in range(count)) for kind, count in (("router", 40), ("model", 14)))
    results = read_results(make_run(routers=routers, candidates=candidates, categories=categories))
    (table,) = success_tables(results)
    assert {row.names[0] for row in table.rows} == {f"category {n}" for n in range(40)}
    assert table.caption.endswith("The 40 most frequent of 200 categories.")
    found = Destinations.of(results)
    assert found.shares.shape == (41, 13)
    assert found.models[-1] == "all others"
    assert np.allclose(found.shares.sum(axis=1), 1)


def test_the_same_run_gives_the_same_bytes(text: str, reported: Path, tmp_path: Path) -> None:
    picture = reported / "figures" / "latency.png"
    before = picture.read_bytes()
    assert write_report(reported, tmp_path / "again.html").read_text(encoding="utf-8") == text
    assert picture.read_bytes() == before


@pytest.mark.parametrize("name", ["report.html", "figures"])
def test_a_link_in_a_run_cannot_lead_the_report_out_of_it(make_run: Any, tmp_path: Path, name: str) -> None:
    folder, outside = make_run(), tmp_path / "outside"
    outside.mkdir()
    target = outside if name == "figures" else outside / "precious"
    (folder / name).symlink_to(target)
    with pytest.raises(OutputError, match=r"a link leads to .*remove the link"):
        write_report(folder)
    assert list(outside.iterdir()) == []


def test_a_page_elsewhere_writes_nothing_into_the_run(make_run: Any, tmp_path: Path) -> None:
    folder = make_run()
    before = sorted(folder.rglob("*"))
    assert write_report(folder, tmp_path / "elsewhere.html").is_file()
    assert sorted(folder.rglob("*")) == before
