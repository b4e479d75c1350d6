from __future__ import annotations

from itertools import combinations
from typing import Any

import attrs
import numpy as np
import pytest
from aamc_report.labels import GAP, Label, place_labels
from aamc_report.result_files import read_results
from aamc_report.results import Results
from aamc_report.sections import DRAWINGS, latency
from aamc_report.sections.cost_quality import Series, _mixtures, draw_plane
from aamc_report.sections.reliability import notes, reliabilities
from aamc_report.style import HEADLINE, looks, new_figure, on_colour, short, short_names, spans_magnitudes, styled
from matplotlib import rcParams
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.path import Path
from matplotlib.text import Annotation, Text


def texts(figure: Figure) -> list[tuple[str, Any]]:
    """Return each visible text and the box that it fills."""
    assert isinstance(figure.canvas, FigureCanvasAgg)
    figure.canvas.draw()
    found = [text for text in figure.findobj(Text) if text.get_visible() and text.get_text()]
    hidden = {label for axes in figure.axes for axis in (axes.xaxis, axes.yaxis) for label in out_of_sight(axis)}
    shown = [text for text in found if (text.axes is None or text.axes.axison) and text not in hidden]
    return [(text.get_text(), Text.get_window_extent(text, figure.canvas.get_renderer())) for text in shown]


def out_of_sight(axis: Axis) -> list[Text]:
    """Return the labels of ticks beyond an axis' ends, which are not drawn."""
    low, high = sorted(axis.get_view_interval())
    return [tick.label1 for tick in axis.get_major_ticks() if not low <= tick.get_loc() <= high]


@pytest.mark.parametrize("drawing", DRAWINGS, ids=lambda drawing: drawing.name)
@pytest.mark.parametrize("routers", [2, 9])
def test_no_text_covers_another(make_run: Any, drawing: Any, routers: int) -> None:
    run = make_run() if routers == 9 else make_run(routers=("ppo", "oracle"), categories=("a long name of a category",), candidates=("a", "b"))
    with styled():
        figure = drawing.draw(read_results(run))
        boxes = texts(figure)
    rotated = drawing.name == "destinations" or (drawing.name == "categories" and routers == 9)  # the upright boxes of slanted names overlap
    clashes = [(a, b) for (a, box), (b, other) in combinations(boxes, 2) if not rotated and box.padded(-1).overlaps(other.padded(-1))]
    assert clashes == []
    assert len(boxes) > 3


def test_a_router_whose_dearer_points_are_no_better_is_drawn_without_a_band(make_run: Any) -> None:
    results = read_results(make_run())
    for n, point in enumerate(results.routers["ppo"]["frontier"]):
        point["mean_quality"], point["mean_cost_usd"] = 1.0, 0.01 * (1 + n)
    with styled():
        (axes,) = draw_plane([Series(results, "ppo", "ppo", looks(results)["ppo"])], {}).axes
    assert not axes.collections
    assert any(len(line.get_xdata()) == 21 for line in axes.lines)


def test_every_bar_of_models_adds_up_to_all_queries(make_run: Any) -> None:
    results = read_results(make_run(candidates=tuple(f"model {n}" for n in range(30))))
    with styled():
        figure = next(drawing for drawing in DRAWINGS if drawing.name == "models").draw(results)
    bars = figure.axes[0].patches
    assert max(bar.get_x() + bar.get_width() for bar in bars) == pytest.approx(1.0)
    assert sum(bar.get_width() for bar in bars) == pytest.approx(len(results.routers))
    assert "all others" in [text.get_text() for text in figure.legends[0].get_texts()]


def test_a_router_has_the_same_look_in_every_figure_and_the_headline_its_own(make_run: Any) -> None:
    found = looks(read_results(make_run()))
    assert list(found) == ["ppo", "llm-only", "slm-only", "rule", "supervised", "greedy", "random", "best-single", "oracle"]
    assert len({(look.colour, look.marker) for look in found.values()}) == 9
    assert [name for name, look in found.items() if look.colour == HEADLINE] == ["ppo"]


def test_labels_that_have_no_room_are_left_out() -> None:
    with styled():
        figure = new_figure(2)
        axes = figure.subplots()
        axes.plot((0, 1), (0, 1), "o")
        place_labels(axes, [Label(x=0.5, y=0.5, text="a label " * 3, colour="#000000") for _ in range(80)], np.array([[0.0, 0.0], [1.0, 1.0]]))
    boxes = [box for text, box in texts(figure) if text.startswith("a label")]
    assert 2 < len(boxes) < 80
    assert not any(box.overlaps(other) for box, other in combinations(boxes, 2))


def test_labels_side_by_side_do_not_read_as_one() -> None:
    gaps, line = [], np.column_stack((np.linspace(0, 1, 200), np.full(200, 0.5)))
    for x in np.linspace(0.33, 0.37, 20):
        with styled():
            figure = new_figure(2)
            axes = figure.subplots()
            axes.set(xlim=(0, 1), ylim=(0, 1))
            place_labels(axes, [Label(x=at, y=0.5, text="oracle", colour="#000000") for at in (0.3, x)], line)
        first, second = (box for text, box in texts(figure) if text == "oracle")
        if min(first.y1, second.y1) > max(first.y0, second.y0):
            gaps.append(max(second.x0 - first.x1, first.x0 - second.x1))
    assert min(gaps) > GAP - 1


def test_no_label_is_struck_through_by_anothers_line() -> None:
    """Labels of points that all lie in one place stand one above another, and so do their lines."""
    with styled():
        figure = new_figure(4)
        axes = figure.subplots()
        axes.plot((0, 1), (0, 1), "o")
        labels = [Label(x=0.5, y=0.5, text=f"label {n}", colour="#000000") for n in range(30)]
        place_labels(axes, labels, np.array([[0.5, 0.5]]))
    boxes = {text: box for text, box in texts(figure) if text.startswith("label")}
    point = axes.transData.transform((0.5, 0.5))
    joined = [note for note in axes.texts if isinstance(note, Annotation) and note.arrowprops is not None]
    assert len(joined) >= 2
    for note in joined:
        ends = point, point + np.array(note.xyann) * figure.dpi / 72
        line = Path(np.linspace(*ends, 20))
        assert [text for text, box in boxes.items() if text != note.get_text() and line.intersects_bbox(box.padded(-1), filled=False)] == []


@pytest.mark.parametrize("metric", ["mean_cost_usd", "mean_quality"])
def test_labels_stay_clear_of_intervals(make_run: Any, metric: str) -> None:
    results = read_results(make_run(routers=("ppo", "random")))
    for router in results.routers:
        low, high = (0.002, 0.03) if metric == "mean_cost_usd" else (0.7, 0.95)
        results.routers[router]["ci95"][metric] = [low, high]
    with styled():
        figure = next(drawing for drawing in DRAWINGS if drawing.name == "cost_quality").draw(results)
        boxes = [box.padded(-1) for text, box in texts(figure) if text in ("ppo", "random")]
    (axes,) = figure.axes
    bars = [line for line in axes.lines if len(line.get_xdata()) == 2]
    assert len(boxes) == len(bars) / 2 == 2
    paths = [axes.transData.transform_path(bar.get_path()) for bar in bars]
    assert not any(path.intersects_bbox(box, filled=False) for path in paths for box in boxes)


def test_quality_that_is_the_same_everywhere_has_an_axis_from_none_to_all(make_run: Any) -> None:
    results = read_results(make_run(routers=("ppo", "random")))
    results.decisions.quality[:] = 0.0
    for metrics in results.routers.values():
        metrics |= {"mean_quality": 0.0, "ci95": metrics["ci95"] | {"mean_quality": [0.0, 0.0]}}
        for point in metrics["frontier"]:
            point["mean_quality"] = 0.0
    with styled():
        figure = next(drawing for drawing in DRAWINGS if drawing.name == "cost_quality").draw(results)
    assert figure.axes[0].get_ylim() == (-0.12, 1.12)
    assert not any(text.startswith("\N{MINUS SIGN}") for text, _ in texts(figure))


def test_free_models_have_no_costs_below_zero(make_run: Any) -> None:
    results = read_results(make_run())
    for metrics in results.routers.values():
        metrics |= {"mean_cost_usd": 0.0, "ci95": metrics["ci95"] | {"mean_cost_usd": [0.0, 0.0]}, "frontier": []}
    with styled():
        figure = draw_plane([Series(results, "ppo", "ppo", looks(results)["ppo"])], {"free": np.array([0.0, 0.5])})
        figure.canvas.draw()
    (axes,) = figure.axes
    labels = [label.get_text() for label in axes.get_xticklabels()]
    assert "$0" in labels
    assert not any("-" in label for label in labels)


def test_a_bin_with_more_forecasts_has_a_larger_point(make_run: Any) -> None:
    results = read_results(make_run())
    bins = next(bins for routers, bins in reliabilities(results).items() if "ppo" in routers)
    with styled():
        diagram, counts = next(drawing for drawing in DRAWINGS if drawing.name == "reliability").draw(results).axes[:2]
    known = bins.counts > 0
    sizes = [line.get_markersize() for line in diagram.lines[1:]]
    assert (np.argsort(sizes, kind="stable") == np.argsort(bins.counts[known], kind="stable")).all()
    assert (diagram.get_title(loc="left"), counts.get_title(loc="left")[:20]) == ("Forecasts of ppo", "Number of forecasts;")


def test_a_row_of_forecasts_names_all_its_routers_and_a_note_the_routers_without_one(make_run: Any) -> None:
    results = read_results(make_run(streams=True))
    expected = results.decisions.expected_quality.copy()
    expected[1:4] = expected[0]
    chosen, quality = (array.copy() for array in (results.decisions.chosen, results.decisions.quality))
    chosen[1:4], quality[1:4] = chosen[0], quality[0]
    results = attrs.evolve(results, decisions=attrs.evolve(results.decisions, expected_quality=expected, chosen=chosen, quality=quality))
    with styled():
        figure = next(drawing for drawing in DRAWINGS if drawing.name == "reliability").draw(results)
    titles = [axes.get_title(loc="left").replace("\n", " ") for axes in figure.axes[::2]]
    assert titles == ["Forecasts of ppo, llm-only, slm-only and rule", "Forecasts of supervised", "Forecasts of greedy"]
    simulation, others = notes(results)
    assert "chosen for quality alone" in simulation
    assert others.startswith("The figure shows 3 of 4 sets of forecasts, without those of best-single.")


def test_a_router_of_a_model_without_latency_has_no_box_as_it_has_no_mean(make_run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    results = read_results(make_run())
    latencies = {router: results.latencies(router) for router in results.routers}
    latencies["greedy"][0] = np.nan
    monkeypatch.setattr(Results, "latencies", lambda self, router: latencies[router])
    with styled():
        figure = latency.draw(results)
    assert figure is not None
    drawn = {int(line.get_ydata()[0]) for line in figure.axes[0].lines}
    assert drawn == set(range(len(latencies))) - {list(latencies).index("greedy")}


def test_costs_that_differ_much_call_for_a_logarithmic_axis() -> None:
    assert spans_magnitudes([0.001, 0.02])
    assert not spans_magnitudes([0.001, 0.019])
    assert not spans_magnitudes([0.0, 5.0])
    assert not spans_magnitudes([np.nan])


def test_text_on_a_colour_is_black_or_white_by_its_brightness() -> None:
    assert on_colour(np.array((0.94, 0.89, 0.26, 1.0))) == "#000000"
    assert on_colour(np.array((0.0, 0.45, 0.7))) == "#ffffff"


def test_long_names_are_cut_and_control_characters_replaced() -> None:
    assert short("a" * 30, 10) == "a" * 9 + "…"
    assert short("bell\x07") == "bell\ufffd"
    assert short("\u0645\u06cc\u200c\u062e \U0001f469\u200d\U0001f4bb\u202e") == "\u0645\u06cc\u200c\u062e \U0001f469\u200d\U0001f4bb\ufffd"


def test_letters_that_the_font_lacks_come_from_installed_fonts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aamc_report.style.fontManager.get_font_names", lambda: ["DejaVu Sans", "Noto Sans CJK JP", "Comic Sans"])
    with styled():
        assert rcParams["font.family"] == ["DejaVu Sans", "Noto Sans CJK JP"]


@pytest.mark.parametrize(
    ("names", "shown"),
    [
        (["gpt-4", "a" * 20], ["gpt-4", "a" * 17 + "…"]),
        (["meta/llama-3.1-8b-instruct", "meta/llama-3.3-70b-instruct"], ["meta/llama-3.1-8b…", "meta/llama-3.3-70…"]),
        (["meta-llama/llama-3.1-8b", "meta-llama/llama-3.3-70b"], ["llama-3.1-8b", "llama-3.3-70b"]),
        (["llama3-chatqa-1.5-8b", "llama3-chatqa-1.5-70b"], ["llama3-ch…a-1.5-8b", "llama3-ch…-1.5-70b"]),
        (["x" * 18 + "1" + "x" * 9, "x" * 18 + "2" + "x" * 9], ["x" * 18 + "1" + "x" * 9, "x" * 18 + "2" + "x" * 9]),
        (["a/same", "b/same"], ["a/same", "b/same"]),
    ],
    ids=["the end", "the end is enough", "the provider", "the middle", "whole", "short"],
)
def test_different_names_stay_different(names: list[str], shown: list[str]) -> None:
    assert short_names(names, 18) == shown


def test_a_hull_is_straight_in_cost_though_its_axis_is_logarithmic() -> None:
    line = _mixtures(np.array([[1e-5, 0.4], [1e-3, 0.9], [5e-4, 0.1], [1e-2, 1.0]]))
    assert np.allclose(line[[0, -1]], [[1e-5, 0.4], [1e-2, 1.0]])
    slopes = np.diff(line[:, 1]) / np.diff(line[:, 0])
    assert np.allclose(slopes[:59], 0.5 / (1e-3 - 1e-5))
    assert np.allclose(slopes[59:], 0.1 / 9e-3)
