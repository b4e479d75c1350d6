"""The charts of the dashboard, drawn in Chromium from figures that few gateways have."""

from __future__ import annotations

import pytest
from pages.browser import Browser, Page
from pages.conftest import Serve

CHARTS = "import('/dashboard/static/charts.js').then((charts) => {{ {} }})"


def test_charts_of_many_models_show_those_with_the_largest_amounts(serve: Serve, browser: Browser):
    gateway = serve()
    draw = """
        const names = Array.from({length: 40}, (_, n) => `model-${n}`), amount = (part, name) => Number(name.slice(6));
        document.querySelector('main').append(charts.stackedBars('Answers', [{begin: 0}], names, amount, String));
        return [charts.largest(names, (name) => amount(null, name)), charts.largest(['z', 'model-39'], () => 1)];
    """

    async def look(page: Page) -> None:
        await page.open(f"{gateway.url}/dashboard#trials")
        largest, fewer = await page.run(CHARTS.format(draw))
        assert (largest, fewer) == ([f"model-{n}" for n in range(33, 40)], ["model-39", "z"])
        legend = await page.run("[...document.querySelectorAll('.legend li')].map((each) => [each.textContent, each.firstChild.className])")
        assert [name for name, _ in legend] == [*largest, "other (32 models)"]  # model-0 has no answers
        assert len({colour for _, colour in legend}) == 8
        assert await page.run("document.querySelectorAll('svg.chart rect').length") == 8
        assert await page.run("document.querySelectorAll('details th[scope=col]').length") == 40

    browser.browse(look)


def test_labels_of_axes_are_whole_and_fit(serve: Serve, browser: Browser):
    gateway = serve()
    box = "[each.textContent, each.getBBox().x, each.getBBox().x + each.getBBox().width]"
    labels = f"[...document.querySelectorAll('main svg text')].map((each) => {box})"
    draw = """
        const main = document.querySelector('main'), part = {{begin: 0}};
        main.replaceChildren(charts.{});
        const width = main.querySelector('svg.chart').viewBox.baseVal.width;
        return {}.filter(([text, from, to]) => text && (from < 0 || to > width)).concat({}.map(([text]) => text));
    """

    async def look(page: Page) -> None:
        await page.open(f"{gateway.url}/dashboard#trials")
        for chart, expected in (
            ("stackedBars('Answers', [part], ['a'], () => 1500000, String)", ["0", "500K", "1M", "1.5M"]),
            ("stackedBars('Answers', [part], ['a'], () => 1, String)", ["0", "1"]),
            ("lines('Cost', [0], [['a', [12e6], 0, false]], String)", ["$0", "$5M", "$10M"]),
            ("lines('Cost', [0], [['a', [0.00003], 0, false]], String)", ["$0", "$1.0e-5", "$2.0e-5", "$3.0e-5"]),
            ("densities('Quality', [['a', [0, 1, 0]]])", ["", "0%", "25%", "50%", "75%", "100%", "quality"]),
        ):
            found = await page.run(CHARTS.format(draw.format(chart, labels, labels)))
            assert found[: len(expected)] == expected, chart

    browser.browse(look)


def test_curves_of_densities_have_equal_areas(serve: Serve, browser: Browser):
    gateway = serve()
    draw = """
        const shapes = [['flat', Array(81).fill(1)], ['steep', Array.from({length: 81}, (_, n) => Math.exp(-(((n - 40) / 4) ** 2)))]];
        const lines = [...charts.densities('Quality', shapes).querySelectorAll('.line')].map((each) => each.getAttribute('d'));
        const heights = lines.map((line) => line.match(/ [\\d.]+/g).map(Number)), bottom = Math.max(...heights.flat());
        return heights.map((each) => each.reduce((sum, y) => sum + bottom - y, 0));
    """

    async def look(page: Page) -> None:
        await page.open(f"{gateway.url}/dashboard#trials")
        flat, steep = await page.run(CHARTS.format(draw))
        assert steep == pytest.approx(flat, rel=0.03)

    browser.browse(look)
