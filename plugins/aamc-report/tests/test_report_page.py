from __future__ import annotations

import json
import re
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from aamc_report.figures import DRAWINGS
from aamc_report.formats import DASH
from aamc_report.report import write_report
from aamc_report.tables import COLUMNS

VOID = {"meta", "br"}


class Page(HTMLParser):
    """Checks that elements close in the order they opened, and gathers rows, ids and texts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.rows: list[list[tuple[str, str]]] = []
        self.ids: list[str] = []
        self.tags: list[str] = []
        self.references: list[str] = []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.tags.append(tag)
        if found.get("id"):
            self.ids.append(str(found["id"]))
        self.references += [str(found[key])[1:] for key in ("href", "aria-labelledby") if str(found.get(key, "")).startswith("#")]
        self.references += re.findall(r"url\(#([^)]*)\)", " ".join(str(value) for value in found.values()))
        if tag == "tr":
            self.rows.append([])
        if tag == "td":
            self.rows[-1].append((str(found["data-value"]), ""))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "td":
            value, _ = self.rows[-1][-1]
            self.rows[-1][-1] = (value, data.strip())


def page_of(folder: Path) -> str:
    return write_report(folder).read_text(encoding="utf-8")


@pytest.fixture
def text(reported: Path) -> str:
    """The page of a run with everything in it."""
    return (reported / "report.html").read_text(encoding="utf-8")


def metrics_of(folder: Path) -> dict[str, Any]:
    return dict(json.loads((folder / "metrics.json").read_text())["routers"])


@pytest.mark.parametrize("streams", [False, True])
def test_a_report_has_every_figure_in_the_page_and_as_a_file(make_run: Any, streams: bool) -> None:
    folder = make_run(streams=streams)
    text = page_of(folder)
    assert [name.name for name in sorted((folder / "figures").iterdir())] == sorted(f"{drawing.name}.png" for drawing in DRAWINGS)
    assert all((folder / "figures" / f"{drawing.name}.png").read_bytes().startswith(b"\x89PNG") for drawing in DRAWINGS)
    assert text.count("<svg ") == len(DRAWINGS)
    assert all(f'role="img" aria-label="{drawing.title}"' in text for drawing in DRAWINGS)


def test_the_page_is_well_formed_and_its_ids_are_unique_and_found(text: str) -> None:
    page = Page(text)
    assert len(page.ids) == len(set(page.ids))
    assert set(page.references) <= set(page.ids)
    assert len(page.references) > 10


def test_the_page_asks_nothing_of_any_other_place(text: str) -> None:
    assert "http" not in text
    assert not re.search(r"\b(src|href)=\"(?!#)", text)
    assert not {"link", "iframe", "img"} & set(Page(text).tags)
    assert "@import" not in text


def test_the_comparison_comes_first_and_its_numbers_are_those_of_the_metrics(text: str, reported: Path) -> None:
    rows = Page(text).rows[1:10]
    expected = [[repr(metrics[column.metric]) for column in COLUMNS] for metrics in metrics_of(reported).values()]
    assert [[value for value, _ in row] for row in rows] == expected
    ppo = metrics_of(reported)["ppo"]
    low, high = (f"{100 * bound:.1f}" for bound in ppo["ci95"]["success_rate"])
    assert rows[0][0][1] == f"{100 * ppo['success_rate']:.1f}%"
    assert f"<small>{low}{DASH}{high}%</small>" in text
    assert text.index("<table") < text.index("<svg")


def test_success_by_category_and_shares_of_models_are_those_of_the_metrics(text: str, reported: Path) -> None:
    rows = Page(text).rows
    routers = list(metrics_of(reported).values())
    categories = [["30", *(repr(metrics["per_category"][name]["success_rate"]) for metrics in routers)] for name in routers[0]["per_category"]]
    assert [[value for value, _ in row] for row in rows[11:19]] == categories
    models = [[repr(metrics["model_share"][name]) for metrics in routers] for name in routers[0]["model_share"]]
    assert [[value for value, _ in row] for row in rows[20:27]] == models


def test_the_headline_is_compared_with_llm_only_in_words(text: str, reported: Path) -> None:
    ppo, large = (metrics_of(reported)[name] for name in ("ppo", "llm-only"))
    points, saved = 100 * (ppo["success_rate"] - large["success_rate"]), 1 - ppo["mean_cost_usd"] / large["mean_cost_usd"]
    assert f"{points:.1f} points more than llm-only, {saved:.0%} lower cost" in text


def test_the_configuration_is_folded_in(text: str, reported: Path) -> None:
    (shown,) = re.findall(r"<pre>(.*)</pre>", text, re.DOTALL)
    assert unescape(shown) == (reported / "run.yaml").read_text()


def test_markup_in_names_is_text(make_run: Any) -> None:
    evil = "<script>alert(1)</script>"
    text = page_of(make_run(routers=("ppo", f"r{evil}", "$x_{$"), candidates=(f"m{evil}", "模型"), categories=(f"c{evil}", "a & b \x07", '"--')))
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
    text = page_of(folder)
    assert Page(text).rows[-3:] == [[], [("0.7123", "0.712"), ("", DASH)], [("", DASH), ("0.25", "25.0%")]]
    assert f"<small>0.700{DASH}0.750</small>" in text
    assert "Hypervolume" in text
    assert "Brier" not in text


def test_paired_tests_say_who_was_compared_and_what_chance_gives(make_run: Any) -> None:
    folder = make_run(routers=("ppo", "greedy"))
    content = json.loads((folder / "metrics.json").read_text())
    content["comparisons"] = [{"a": "ppo", "b": "greedy", "difference": 0.0123, "ci95": [-0.001, 0.025], "p": 0.0301, "p_holm": 0.0602}]
    (folder / "metrics.json").write_text(json.dumps(content))
    text = page_of(folder)
    assert "ppo minus greedy" in text
    assert Page(text).rows[-1] == [("0.0123", "0.012"), ("0.0301", "0.0301"), ("0.0602", "0.0602")]
    assert "<small>-0.001 to 0.025</small>" in text


def test_an_interval_with_a_minus_sign_has_no_dash_before_it(make_run: Any) -> None:
    folder = make_run(routers=("ppo",))
    content = json.loads((folder / "metrics.json").read_text())
    content["routers"]["ppo"]["ci95"]["expected_utility"] = [-0.2, -0.05]
    (folder / "metrics.json").write_text(json.dumps(content))
    assert "<small>-0.200 to -0.050</small>" in page_of(folder)


def test_what_is_unknown_is_a_dash_and_has_no_figure(make_run: Any) -> None:
    folder = make_run(routers=("ppo",), candidates=("small", "large"), categories=("all",), latency=False, curves=False)
    page = Page(page_of(folder))
    assert [text for value, text in page.rows[1] if value == ""] == [DASH, DASH]
    assert {path.stem for path in (folder / "figures").iterdir()} == {"cost_quality", "comparison", "models", "categories"}


def test_forty_routers_and_thirty_categories_are_shown(make_run: Any) -> None:
    many = {name: tuple(f"{name} {n}" for n in range(count)) for name, count in (("routers", 40), ("categories", 30), ("candidates", 14))}
    rows = Page(page_of(make_run(**many))).rows
    assert len(rows) == 3 + 40 + 30 + 14


def test_the_same_run_gives_the_same_bytes(text: str, reported: Path, tmp_path: Path) -> None:
    picture = reported / "figures" / "latency.png"
    before = picture.read_bytes()
    assert write_report(reported, tmp_path / "again.html").read_text(encoding="utf-8") == text
    assert picture.read_bytes() == before
