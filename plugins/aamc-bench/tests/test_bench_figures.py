from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from aamc_bench.figures import draw_lines, panels, save_figure
from aamc_report.style import looks_of, styled
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure


@pytest.fixture
def axes() -> Axes:
    """Two routers that are nearly the same at levels 0 and 1, one of which was not measured at 2."""
    level = {"value": 0.9, "ci95": [0.8, 0.95]}
    lines = {"a": {0.0: level, 1.0: level, 2.0: level}, "b": {0.0: level, 1.0: {"value": 0.89, "ci95": None}, 2.0: None}}
    with styled():
        page, (panel,) = panels(1, 1)
        draw_lines(panel, [0.0, 1.0, 2.0], lines, looks_of(list(lines)))
        assert isinstance(page.canvas, FigureCanvasAgg)
        page.canvas.draw()
    return panel


def test_lines_of_the_same_figures_stand_apart(axes: Axes) -> None:
    first, second = (line.get_transform().transform(line.get_xydata()) for line in axes.lines)
    assert second[0, 0] - first[0, 0] > 2
    assert second[0, 1] == pytest.approx(first[0, 1])


def test_limits_are_those_of_the_data_and_nothing_is_cut_off(axes: Axes) -> None:
    low, high = axes.get_ylim()
    assert 0.78 < low < 0.8
    assert 0.95 < high < 0.97
    drawn = np.concatenate([line.get_transform().transform(line.get_xydata()) for line in axes.lines])
    shown = drawn[np.isfinite(drawn).all(axis=1), 0]
    assert (shown > axes.bbox.x0 + 2).all()
    assert (shown < axes.bbox.x1 - 2).all()


def test_what_was_not_measured_leaves_a_gap_and_what_has_no_interval_no_bar(axes: Axes) -> None:
    _, second = axes.lines
    np.testing.assert_allclose(np.asarray(second.get_ydata(), dtype=np.float64), [0.9, 0.89, np.nan])
    assert [len(bars.get_paths()) for bars in axes.collections] == [3, 1]


def test_letters_that_no_font_has_are_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    def draw(title: str) -> Figure:
        page, (panel,) = panels(1, 1)
        panel.set_title(title)
        return page

    save_figure(tmp_path, "plain", lambda: draw("déjà vu"))
    assert not caplog.messages
    save_figure(tmp_path, "rare", lambda: draw("held out: \U00012000"))
    assert caplog.messages == ["figure rare shows boxes for \U00012000: no installed font that it uses has these letters"]
    assert len(list((tmp_path / "figures").iterdir())) == 4
