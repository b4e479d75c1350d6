"""The dashboard in Chromium: what it shows, who may see it, and whether everybody can use it."""

from __future__ import annotations

from typing import Any

import pytest
from aamc_gateway.testing import GatewayProcess, stub_candidate
from aamc_models.testing import Script, StubServer
from click.testing import CliRunner
from forked_gateway import ForkedGateway
from pages.browser import Browser, Page
from pages.conftest import ADMIN, Serve, chat, http

from aamc_sdk.cli import aamc

PAGES = ("overview", "decisions", "learning", "arena", "trials")
CONTRAST = """(() => {
  const rgb = (text) => text.match(/[\\d.]+/g).map(Number);
  const channel = (value) => { const share = value / 255; return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4; };
  const light = ([r, g, b]) => 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
  const behind = (element) => {
    for (let each = element; each; each = each.parentElement) {
      const found = rgb(getComputedStyle(each).backgroundColor);
      if (found.length < 4 || found[3] > 0) return found;
    }
    return [255, 255, 255];
  };
  const low = [];
  for (const element of document.querySelectorAll('body *')) {
    const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
    if (!own || !element.getClientRects().length || element.closest('.skip')) continue;
    const style = getComputedStyle(element), [a, b] = [light(rgb(element instanceof SVGElement ? style.fill : style.color)), light(behind(element))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < 4.5) low.push(`${element.tagName} ${element.textContent.trim().slice(0, 40)}: ${ratio.toFixed(2)}`);
  }
  return low;
})()"""


@pytest.fixture
def gateway(serve: Serve) -> GatewayProcess:
    """Return a gateway after some traffic, with feedback and matches of the arena."""
    served = serve({"arena": {"candidates": 3}}, router={"name": "canary", "stable": "epsilon-greedy", "candidate": "thompson", "share": 0.5})
    for n in range(12):
        answer = http(f"{served.url}/v1/chat/completions", chat(text=f"Question {n} <b>bold</b>", stream=n % 2 == 0))
        http(f"{served.url}/v1/feedback", {"decision_id": answer.headers["x-aamc-decision-id"], "quality": n % 2})
    for n in range(2):
        http(f"{served.url}/v1/chat/completions", chat("aamc/arena", f"Arena question {n}"))
    return served


def test_a_page_says_that_the_log_is_still_being_read(gateway: GatewayProcess, browser: Browser):
    answer = "new Response(JSON.stringify({left: 1234, decisions: []}), {status: 200})"

    async def look(page: Page) -> str:
        await page.open(f"{gateway.url}/dashboard#learning")
        await page.until("document.querySelector('main').dataset.page === 'learning'")
        await page.run(f"window.fetch = async () => {answer}; location.hash = '#decisions'; ''")
        await page.until("document.querySelector('[data-left]') !== null")
        return str(await page.run("document.querySelector('[data-left]').innerText"))

    assert browser.browse(look) == "The log is being read: 1,234 entries are left."


def test_each_page_shows_its_figures_and_loads_nothing_from_elsewhere(gateway: GatewayProcess, browser: Browser):
    async def look(page: Page) -> dict[str, str]:
        texts = {}
        for name in PAGES:
            await page.open(f"{gateway.url}/dashboard#{name}")
            await page.until(f"document.querySelector('main').dataset.page === '{name}'")
            texts[name] = await page.run("document.querySelector('main').innerText")
        assert page.problems == []
        assert [url for url in page.requests if not url.startswith(f"{gateway.url}/")] == []
        return texts

    texts = browser.browse(look)
    for expected in ("Decisions\n14", "Saved", "always using large", "Wilson", "small", "p95"):
        assert expected in texts["overview"]
    assert "Question 11 <b>bold</b>" in texts["decisions"]  # as text, never as HTML
    assert "Posterior quality" in texts["learning"]
    assert "Answer A" in texts["arena"]
    assert "A canary runs" in texts["trials"]
    assert "points (" in texts["trials"]
    assert "You may look at any time" in texts["trials"]


def test_without_traffic_no_cost_is_compared(serve: Serve, browser: Browser):
    gateway = serve()

    async def look(page: Page) -> str:
        await page.open(f"{gateway.url}/dashboard#overview")
        return str(await page.run("document.querySelector('main').innerText"))

    text = browser.browse(look)
    assert "large: it is the most expensive; not all models have 30 ratings yet." in text
    assert "The same tokens" not in text
    assert "No decisions in this period." in text
    assert text.count("No entries yet.") == 3


def test_a_decision_is_explained_and_judged(gateway: GatewayProcess, browser: Browser):
    async def look(page: Page) -> str:
        await page.open(f"{gateway.url}/dashboard#decisions")
        await page.until("document.querySelector('td button.link, th button.link')")
        await page.run("document.querySelector('button.link').click()")
        await page.until("[...document.querySelectorAll('h2')].some((each) => each.textContent.startsWith('Decision '))")
        text = await page.run("document.querySelector('main').innerText")
        await page.run("[...document.querySelectorAll('button')].find((each) => each.textContent.includes('Good')).click()")
        await page.until("document.querySelector('#status').textContent.startsWith('Recorded')")
        return str(text)

    text = browser.browse(look)
    for expected in ("The candidates as the router saw them", "Calls", "Propensity"):
        assert expected in text
    recent = http(f"{gateway.url}/admin/decisions").json["decisions"]
    assert [feedback["quality"] for decision in recent for feedback in decision["feedback"] if feedback["source"] == "implicit:dashboard"] == [1.0]


def test_a_refresh_keeps_the_place_of_the_reader(serve: Serve, browser: Browser):
    gateway = serve()

    def ask(*texts: str) -> None:
        for text in texts:
            http(f"{gateway.url}/v1/chat/completions", chat(text=text))

    row = "document.activeElement.closest('tr').lastChild.textContent"
    heading = "document.activeElement.tagName === 'SECTION' && document.activeElement.querySelector('h2').textContent.startsWith('Decision ')"
    explained = "document.querySelector('pre.prompt')?.textContent"

    async def refresh(page: Page, newest: str) -> None:
        await page.run("document.querySelector('#refresh').click()")
        await page.until(f"document.querySelector('main').innerText.includes('{newest}')")

    async def look(page: Page) -> None:
        ask("first", "second", "third", "fourth")
        await page.appearance(width=390)
        await page.send("Emulation.setFocusEmulationEnabled", enabled=True)
        await page.open(f"{gateway.url}/dashboard#decisions")
        await page.until("document.querySelectorAll('button.link').length === 4")
        await page.run("document.querySelectorAll('button.link')[2].focus(); document.querySelector('.scroll').scrollLeft = 200")
        ask("fifth")
        await refresh(page, "fifth")
        assert await page.run(row) == "second"
        assert await page.run("document.querySelector('.scroll').scrollLeft") == 200
        await page.press("Enter")
        await page.until(f"{explained} === 'second'")
        assert await page.run(heading)
        ask("sixth")
        await refresh(page, "sixth")
        assert await page.run(heading)
        ask(*(f"more {n}" for n in range(60)))
        await refresh(page, "more 59")
        assert await page.run("document.querySelectorAll('button.link').length") == 50
        assert await page.run(explained) == "second"
        assert await page.run(heading)

    browser.browse(look)


def test_a_page_shows_nothing_of_the_last_one_while_it_loads(gateway: GatewayProcess, browser: Browser):
    async def look(page: Page) -> None:
        await page.open(f"{gateway.url}/dashboard#decisions")
        empty = "document.querySelector('main').childElementCount === 0"
        assert await page.run(f"new Promise((done) => {{ addEventListener('hashchange', () => done({empty})); location.hash = 'trials'; }})")
        await page.until("document.querySelector('main section')")

    browser.browse(look)


def test_a_vote_by_keyboard_reveals_the_models(gateway: GatewayProcess, browser: Browser):
    async def look(page: Page) -> str:
        await page.open(f"{gateway.url}/dashboard#arena")
        await page.until("document.querySelector('.answer')")
        names = await page.run("document.querySelector('.answers').innerText")
        assert not any(f"by {name}" in names for name in ("small", "middle", "large"))
        for _ in range(30):
            await page.press("Tab")
            if await page.run("document.activeElement.textContent") == "A is best":
                break
        assert await page.run("document.activeElement.textContent") == "A is best"
        await page.press("Enter")
        await page.until("document.querySelector('main').innerText.includes('Your last vote')")
        return str(await page.run("document.querySelector('main').innerText"))

    text = browser.browse(look)
    assert "You chose answer A" in text
    assert "share won" in text
    assert http(f"{gateway.url}/admin/arena").json["waiting"] == 1


def test_keys_pressed_after_a_vote_do_not_vote_on_the_next_match(gateway: GatewayProcess, browser: Browser):
    votes = "performance.getEntriesByType('resource').filter((each) => each.name.endsWith('/vote')).length"
    ballot = "document.querySelector('.ballot')"

    async def look(page: Page) -> None:
        await page.send("Emulation.setFocusEmulationEnabled", enabled=True)
        await page.open(f"{gateway.url}/dashboard#arena")
        await page.until(ballot)
        first = await page.run(f"{ballot}.dataset.id")
        await page.run("document.querySelector('.answer button').focus()")
        await page.press("Enter")
        await page.press("Enter")
        await page.until(f"{ballot}.dataset.id !== '{first}'")
        assert await page.run(f"document.activeElement === {ballot}")
        await page.press("Enter")
        await page.run(f"(() => {{ const button = {ballot}.querySelector('button'); button.click(); button.click(); }})()")
        await page.until(f"{ballot} === null")
        assert await page.run(votes) == 2

    browser.browse(look)
    assert http(f"{gateway.url}/admin/arena").json["waiting"] == 0


def test_votes_go_on_after_a_refresh_that_failed(serve: Serve, browser: Browser):
    gateway = serve({"arena": {"candidates": 3}})
    http(f"{gateway.url}/v1/chat/completions", chat("aamc/arena"))

    async def look(page: Page) -> None:
        await page.open(f"{gateway.url}/dashboard#arena")
        await page.until("document.querySelector('.ballot')")
        broken = "async (path, ...rest) => path.includes('overview') ? new Response('{}') : answered(path, ...rest)"
        await page.run(f"window.answered = window.fetch; window.fetch = {broken}; ''")
        await page.run("document.querySelector('.answer button').click()")
        await page.until("document.querySelector('#status').textContent.endsWith('of the last refresh.')")
        await page.run("window.fetch = window.answered; document.querySelector('.answer button').click()")
        await page.until("document.querySelector('main').innerText.includes('Your last vote')")

    browser.browse(look)


def test_texts_run_in_their_own_direction(serve: Serve, browser: Browser):
    gateway = serve({"arena": {}})
    http(f"{gateway.url}/v1/chat/completions", chat("aamc/arena", "מה שלומך?"))
    directions = "[...document.querySelectorAll('{}')].map((each) => getComputedStyle(each).direction)"

    async def look(page: Page) -> None:
        await page.open(f"{gateway.url}/dashboard#arena")
        await page.until("document.querySelector('.answer')")
        assert await page.run(directions.format("pre.prompt")) == ["rtl"]
        assert set(await page.run(directions.format(".answer pre"))) == {"ltr"}
        assert await page.run("document.querySelectorAll('pre[dir=auto]').length === document.querySelectorAll('pre').length")
        await page.open(f"{gateway.url}/dashboard#decisions")
        await page.until("document.querySelector('button.link')")
        await page.run("document.querySelector('button.link').click()")
        await page.until("document.querySelector('pre.prompt')")
        assert await page.run(directions.format("pre.prompt, td [dir]")) == ["rtl", "rtl"]

    browser.browse(look)


def test_a_refresh_that_fails_keeps_the_figures_and_says_why(gateway: GatewayProcess, browser: Browser):
    async def look(page: Page) -> None:
        await page.open(f"{gateway.url}/dashboard#overview")
        await page.until("document.querySelector('details')")
        await page.run("document.querySelector('details').open = true; document.querySelector('#logout').hidden = false")
        await page.run("window.answered = window.fetch; window.fetch = async () => { throw new TypeError('away'); }; ''")
        await page.run("document.querySelector('#refresh').click()")
        await page.until("document.querySelector('#status').textContent.startsWith('The gateway cannot be reached. The page shows')")
        assert await page.run("document.querySelector('details').open && document.querySelector('main').innerText.includes('Decisions')")
        await page.run("document.querySelector('#logout').click()")
        await page.until("document.querySelector('#status').textContent.endsWith('You are still signed in.')")
        await page.run("window.fetch = window.answered; document.querySelector('#refresh').click()")
        await page.until("document.querySelector('#status').textContent.startsWith('Updated') && !document.querySelector('.error')")
        assert page.problems == []

    browser.browse(look)


def test_an_admin_key_is_needed_and_becomes_a_cookie_that_scripts_cannot_read(serve: Serve, browser: Browser):
    gateway = serve(keys=True)
    for name in ("overview", "decisions", "posteriors", "trials", "spending", "arena", "decisions/x"):
        path = f"/admin/{name}"
        assert http(gateway.url + path).status == 401
    assert http(f"{gateway.url}/admin/overview", authorization=f"Bearer {ADMIN}").status == 200

    async def look(page: Page) -> None:
        await page.open(f"{gateway.url}/dashboard")
        sign_in = "(() => {{ document.querySelector('input').value = '{}'; document.querySelector('form').requestSubmit(); }})()"
        await page.run(sign_in.format("wrong"))
        await page.until("document.querySelector('p.error').textContent.startsWith('this is not a valid admin key')")
        await page.run(sign_in.format(ADMIN))
        await page.until("document.querySelector('dl')")
        assert await page.run("document.activeElement.tagName") == "MAIN"
        assert await page.run("document.cookie") == ""
        assert ADMIN not in await page.run("location.href")
        assert not any(ADMIN in url for url in page.requests)
        await page.run("document.querySelector('#logout').click()")
        await page.until("document.querySelector('form')")
        assert await page.run("fetch('/admin/overview').then((answer) => answer.status)") == 401

    browser.browse(look)


def test_a_page_of_another_site_cannot_write_or_reach_a_gateway_without_keys(serve: Serve):
    gateway = serve()
    body = {"decision_id": "x", "quality": 1}
    assert http(f"{gateway.url}/admin/feedback", body, origin="https://elsewhere.example").status == 403
    assert http(f"{gateway.url}/admin/overview", host="elsewhere.example").status == 403
    assert http(f"{gateway.url}/admin/feedback", body, origin=gateway.url).status == 202


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390], ids=["wide", "phone"])
def test_every_page_is_legible_and_fits(gateway: GatewayProcess, browser: Browser, width: int, dark: bool):
    async def look(page: Page) -> None:
        await page.appearance(width=width, dark=dark)
        for name in PAGES:
            await page.open(f"{gateway.url}/dashboard#{name}")
            await page.until(f"document.querySelector('main').dataset.page === '{name}'")
            assert await page.run(CONTRAST) == [], name
            assert await page.run("document.documentElement.scrollWidth <= innerWidth"), f"{name} is wider than the window"

    browser.browse(look)


def test_long_names_of_models_hide_no_figures(serve: Serve, stub: StubServer, candidates: list[dict[str, Any]], browser: Browser):
    name = "accounts/somebody/models/large-model-with-a-very-long-name-2026-11-23-preview-instruct"
    stub.scripts[name] = Script(text="Hello")
    candidates.append(stub_candidate(name, f"{stub.url}/v1", input_price=20.0))
    gateway = serve()
    for rating in ({"quality": 1.0}, {"thumbs": "up"}):
        answer = http(f"{gateway.url}/v1/chat/completions", chat(name))
        http(f"{gateway.url}/v1/feedback", {"decision_id": answer.headers["x-aamc-decision-id"], **rating})
    shares = """[...document.querySelectorAll('.scroll')].filter((each) => each.clientWidth)
        .map((each) => each.querySelector('tbody th').getBoundingClientRect().width / each.clientWidth)"""

    async def look(page: Page) -> None:
        for width in (390, 1280):
            await page.appearance(width=width)
            for name in ("overview", "decisions"):
                await page.open(f"{gateway.url}/dashboard#{name}")
                await page.until(f"document.querySelector('main').dataset.page === '{name}'")
                if name == "decisions":
                    await page.run("document.querySelector('button.link').click()")
                    await page.until("document.querySelectorAll('table').length > 2")
                for text in ("document.documentElement", "...document.querySelectorAll('.card')"):
                    overflowing = f"[{text}].filter((each) => each.scrollWidth > each.clientWidth).length"
                    assert await page.run(overflowing) == 0, (name, width)
                assert max(await page.run(shares)) < 0.6, (name, width)
                if width == 1280:
                    hidden = "[...document.querySelectorAll('.scroll')].filter((each) => each.scrollWidth > each.clientWidth).length"
                    assert await page.run(hidden) == 0, name

    browser.browse(look)


def test_tables_of_many_models_leave_a_page_short(serve: Serve, stub: StubServer, candidates: list[dict[str, Any]], browser: Browser):
    names = [f"model-{n}" for n in range(80)]
    candidates += [stub_candidate(name, f"{stub.url}/v1") for name in names]
    gateway = serve()
    for name in names:
        http(f"{gateway.url}/v1/chat/completions", chat(name))

    async def look(page: Page) -> None:
        await page.appearance(width=1280, height=900)
        await page.open(f"{gateway.url}/dashboard#overview")
        await page.until("document.querySelectorAll('main tbody tr').length > 240")
        assert await page.run("document.documentElement.scrollHeight") < 4 * 900
        tables = "[...document.querySelectorAll('.scroll:not(details .scroll)')]"
        await page.run(f"{tables}.forEach((each) => {{ each.scrollTo(0, 500); each.dataset.old = ''; }})")
        await page.run("document.querySelector('#refresh').click()")
        await page.until("!document.querySelector('[data-old]')")
        assert await page.run(f"{tables}.map((each) => each.scrollTop)") == [500, 500, 500]
        above = f"{tables}.map((each) => each.querySelector('th').getBoundingClientRect().top - each.getBoundingClientRect().top)"
        assert await page.run(above) == [0, 0, 0]  # the headings stay in sight

    browser.browse(look)


def test_a_printed_page_shows_its_period_and_the_colours_of_its_legend(gateway: GatewayProcess, browser: Browser):
    async def look(page: Page) -> None:
        await page.open(f"{gateway.url}/dashboard#overview")
        await page.until("document.querySelector('.swatch')")
        await page.send("Emulation.setEmulatedMedia", media="print")
        assert await page.run("['#period', '#status'].map((each) => document.querySelector(each).checkVisibility())") == [True, True]
        assert await page.run("getComputedStyle(document.querySelector('.swatch')).printColorAdjust") == "exact"
        assert not await page.run("document.querySelector('nav').checkVisibility()")

    browser.browse(look)


def test_a_legend_keeps_its_colours_where_the_reader_chooses_all_others(gateway: GatewayProcess, browser: Browser):
    async def look(page: Page) -> None:
        await page.send("Emulation.setEmulatedMedia", features=[{"name": "forced-colors", "value": "active"}])
        await page.open(f"{gateway.url}/dashboard#overview")
        await page.until("document.querySelector('.swatch')")
        colours = await page.run("[...document.querySelectorAll('.swatch')].map((each) => getComputedStyle(each).backgroundColor)")
        assert len(set(colours)) == len(colours) > 1

    browser.browse(look)


def test_only_a_refresh_that_the_reader_asked_for_is_read_aloud(gateway: GatewayProcess, browser: Browser):
    async def look(page: Page) -> None:
        await page.open(f"{gateway.url}/dashboard#overview")
        await page.until("document.querySelector('#status').textContent.startsWith('Updated')")
        live = "document.querySelector('#status').getAttribute('aria-live')"
        assert await page.run(live) == "polite"
        await page.until(f"{live} === 'off'")
        await page.run("document.querySelector('#refresh').click()")
        await page.until(f"{live} === 'polite'")

    browser.browse(look)


def test_a_reader_can_stop_the_automatic_refresh(gateway: GatewayProcess, browser: Browser):
    async def look(page: Page) -> None:
        counted = "window.setTimeout = (work, after, ...rest) => { if (after === 10_000) window.work = work; else start(work, after, ...rest); }; ''"
        asked = "performance.getEntriesByType('resource').filter((each) => each.name.includes('/admin/overview')).length"
        await page.open(f"{gateway.url}/dashboard#overview")
        await page.run(f"window.start = window.setTimeout; {counted}")
        await page.run("document.querySelector('#refresh').click()")
        await page.until("window.work && document.querySelector('dl')")
        before = await page.run(asked)
        await page.run("document.querySelector('#pause').click(); window.work()")
        assert await page.run(asked) == before
        await page.run("document.querySelector('#pause').click()")
        await page.until(f"document.querySelector('#status').textContent && {asked} > {before}")

    browser.browse(look)


def test_every_control_and_chart_has_a_name(gateway: GatewayProcess, browser: Browser):
    async def look(page: Page) -> None:
        for name in PAGES:
            await page.open(f"{gateway.url}/dashboard#{name}")
            await page.until(f"document.querySelector('main').dataset.page === '{name}'")
            nodes = (await page.send("Accessibility.getFullAXTree"))["nodes"]
            named = {"button", "link", "combobox", "textbox", "image", "img", "table", "region", "DisclosureTriangle", "navigation"}
            shown = [node for node in nodes if not node.get("ignored") and node["role"]["value"] in named]
            assert [node["role"]["value"] for node in shown if not node.get("name", {}).get("value")] == [], name
            regions = [node["name"]["value"] for node in shown if node["role"]["value"] == "region"]
            assert len(set(regions)) == len(regions), name
            charts = "[...document.querySelectorAll('svg.chart')].every((each) => each.closest('section').querySelector('table'))"
            assert await page.run(charts), f"a chart of {name} has no table"

    browser.browse(look)


def test_the_files_are_part_of_the_package_and_have_a_strict_policy(serve: Serve):
    gateway = serve()
    for path in ("/dashboard", "/dashboard/static/dashboard.js", "/dashboard/static/dashboard.css"):
        found = http(gateway.url + path)
        assert found.status == 200
        assert "default-src 'none'" in found.headers["content-security-policy"]
        assert not any(word in found.headers["content-security-policy"] for word in ("unsafe", "*", "http"))
    assert http(f"{gateway.url}/dashboard/static/../pages.py").status == 404
    assert http(f"{gateway.url}/admin/overview?period=week").status == 400
    assert http(f"{gateway.url}/admin/overview?baseline=nobody").status == 400
    assert http(f"{gateway.url}/admin/decisions/unknown").status == 404


def keys(gateway: GatewayProcess, *arguments: str) -> str:
    """Run ``aamc keys`` with the gateway's store, and return its output."""
    done = CliRunner().invoke(aamc, ["keys", *arguments, "--store", f"sqlite:{gateway.folder / 'state.db'}?store_text=true"])
    assert done.exit_code == 0, done.output
    return done.stdout.strip()


def sign_in(gateway: GatewayProcess, key: str) -> str:
    """Sign in to the dashboard and return the cookie with its attributes."""
    return http(f"{gateway.url}/dashboard/login", {"key": key}).headers["set-cookie"]


def status(gateway: GatewayProcess, cookie: str) -> int:
    """Return the status of a request for figures with a cookie."""
    return http(f"{gateway.url}/admin/overview", cookie=cookie.partition(";")[0]).status


def restarted(gateway: GatewayProcess, **environment: str) -> GatewayProcess:
    """End a gateway, and return one that begins with its files at its address."""
    gateway.stop()
    made = ForkedGateway(gateway.folder, environment=environment)
    made.port, made.url, made.arguments = gateway.port, gateway.url, gateway.arguments
    return made


@pytest.mark.parametrize("change", ["revoke", "rotate"])
def test_a_revoked_or_rotated_key_ends_its_session(serve: Serve, change: str):
    gateway = serve(keys=True)
    cookie = sign_in(gateway, keys(gateway, "add", "ops", "--admin"))
    assert all(word in cookie for word in ("HttpOnly", "SameSite=Strict"))
    assert status(gateway, cookie) == 200
    keys(gateway, change, "ops")
    assert status(gateway, cookie) == 401


def test_a_session_lasts_as_long_as_the_secret_that_a_rotation_replaced(serve: Serve):
    gateway = serve(keys=True)
    cookie = sign_in(gateway, keys(gateway, "add", "ops", "--admin"))
    keys(gateway, "rotate", "ops", "--grace", "1h")
    assert status(gateway, cookie) == 200


@pytest.mark.parametrize("replacement", ["another-admin-key-of-this-test-012345", ""])
def test_a_session_ends_with_the_admin_key_of_the_environment(serve: Serve, replacement: str):
    gateway = serve(keys=True)
    keys(gateway, "add", "someone")  # so that keys are needed without that variable too
    cookie = sign_in(gateway, ADMIN)
    assert status(gateway, cookie) == 200
    with restarted(gateway, AAMC_ADMIN_KEY=replacement):
        assert status(gateway, cookie) == 401


def test_a_session_from_before_there_were_keys_ends_with_the_first_key(serve: Serve):
    gateway = serve()
    cookie = sign_in(gateway, "any")
    assert status(gateway, cookie) == 200
    keys(gateway, "add", "someone")
    with restarted(gateway):
        assert status(gateway, cookie) == 401


@pytest.mark.parametrize("wrong", ["wrong", "", 7, "schlüssel"])
def test_wrong_keys_keep_no_administrator_out(serve: Serve, wrong: Any):
    gateway = serve(keys=True)
    answers = [http(f"{gateway.url}/dashboard/login", {"key": wrong}) for _ in range(31)]
    assert [answer.status for answer in answers] == [401] * 30 + [429]
    assert status(gateway, sign_in(gateway, ADMIN)) == 200


@pytest.mark.parametrize(
    ("origin", "site", "status"),
    [
        ("http://[", "", 403),
        ("null", "", 403),
        ("http://gw.example.com", "", 403),
        ("http://gw.example.com", "same-site", 403),
        ("http://gw.example.com", "same-origin", 200),  # a proxy has changed Host
    ],
)
def test_only_pages_of_the_gateway_s_own_site_sign_in(serve: Serve, origin: str, site: str, status: int):
    gateway = serve(keys=True)
    answer = http(f"{gateway.url}/dashboard/login", {"key": ADMIN}, origin=origin, **({"sec-fetch-site": site} if site else {}))
    assert answer.status == status
