from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.one_python

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
CLICK = "<script>document.querySelectorAll('table.sortable')[0].tHead.rows[0].cells[{column}].querySelector('button').click();</script>"


@pytest.fixture(scope="module")
def browser() -> str:
    if CHROMIUM is None:
        assert not os.environ.get("AAMC_REQUIRE_SERVICES"), "no Chromium: install apt-packages.txt"
        pytest.skip("no Chromium here")
    return CHROMIUM


def dom_of(browser: str, page: str, folder: Path, *options: str) -> str:
    """Return the document that a page becomes in the browser."""
    file = folder / "page.html"
    file.write_text(page)
    command = [browser, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={folder / 'profile'}", *options, "--dump-dom", file.as_uri()]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout


def comparison_after(browser: str, page: str, folder: Path, *columns: int) -> tuple[list[str], list[str]]:
    """Click headings of the first table; return its rows' names and the values of the last one clicked, from the top down."""
    shown = dom_of(browser, page.replace("</body>", "".join(CLICK.format(column=column) for column in columns) + "</body>"), folder)
    rows = re.findall(r"<tr.*?</tr>", shown[shown.index("<tbody>") : shown.index("</tbody>")], re.DOTALL)
    names = [re.findall(r'<th scope="row">(.*?)</th>', row)[0] for row in rows]
    return names, [(["", *re.findall('data-value="(.*?)"', row)])[columns[-1]] for row in rows]


def test_a_click_on_a_heading_sorts_by_its_numbers_the_greatest_first(browser: str, reported: Path, tmp_path: Path) -> None:
    page = (reported / "report.html").read_text()
    names, values = comparison_after(browser, page, tmp_path, 3)
    assert [float(value) for value in values] == sorted(map(float, values), reverse=True)
    assert names[0] in ("llm-only", "best-single")
    assert len(names) == 9


def test_a_second_click_turns_the_order_round_and_what_is_unknown_stays_last(browser: str, reported: Path, tmp_path: Path) -> None:
    page = (reported / "report.html").read_text()
    first = re.search(r'<th scope="row">rule</th>\s*<td data-value="(.*?)">', page)
    assert first is not None
    unknown = page.replace(f'data-value="{first[1]}"', 'data-value=""', 1)
    names, values = comparison_after(browser, unknown, tmp_path, 1, 1)
    assert values[-1] == ""
    assert [float(value) for value in values[:-1]] == sorted(map(float, values[:-1]))
    assert len(names) == 9


def test_names_are_sorted_from_a_to_z(browser: str, reported: Path, tmp_path: Path) -> None:
    names, _ = comparison_after(browser, (reported / "report.html").read_text(), tmp_path, 0)
    assert names == sorted(names)


def test_on_a_phone_figures_keep_their_size_and_captions_stay_in_view(browser: str, reported: Path, tmp_path: Path) -> None:
    measure = """<script>
        const boxes = (selector) => [...document.querySelectorAll(selector)].map((each) => each.getBoundingClientRect()).filter((box) => box.width);
        document.querySelectorAll(".scroll").forEach((each) => { each.scrollLeft = 50; });
        const [smallest] = boxes("figure svg").map((box) => box.width).sort((a, b) => a - b);
        const inView = boxes("caption span").every((box) => box.left >= 0 && box.right <= innerWidth);
        document.title = `${smallest} ${inView} ${document.documentElement.scrollWidth <= innerWidth}`;
    </script>"""
    page = (reported / "report.html").read_text().replace("</body>", measure + "</body>")
    title = re.search("<title>(.*?)</title>", dom_of(browser, page, tmp_path, "--window-size=360,800"))
    assert title is not None
    assert title[1] == "640 true true"
