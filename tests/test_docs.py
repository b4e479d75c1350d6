"""The docs agree with the code: hooks, the guide's code, the README's lines, links, imports, docstrings of public names."""

import ast
import importlib
import inspect
import re
import subprocess
import sys
import textwrap
from importlib.util import find_spec
from pathlib import Path

import pytest

from aamc_sdk import MetaController, hookspecs
from aamc_sdk.plugins import KINDS

pytestmark = pytest.mark.one_python

ROOT = Path(__file__).parents[1]
PAGES = sorted(path.relative_to(ROOT).as_posix() for path in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("plugins/*/README.md")])
HOOKS = sorted(name for name in vars(hookspecs) if name.startswith("aamc_"))
EXAMPLE = ROOT / "examples" / "third_party_plugin"
TEST_LINE = "python3 -m venv .venv-tox && .venv-tox/bin/pip install tox && .venv-tox/bin/tox"


def read(path):
    return (ROOT / path).read_text(encoding="utf-8")


def blocks(path, language):
    return re.findall(rf"```{language}\n(.*?)\n```", read(path), flags=re.DOTALL)


@pytest.mark.parametrize("hook", HOOKS)
def test_every_hook_stands_in_the_docs_with_its_signature(hook):
    signature = str(inspect.signature(getattr(hookspecs, hook))).replace("'", "")
    assert f"def {hook}{signature}" in blocks("docs/reference/hooks.md", "python")


def test_the_docs_have_no_hook_that_is_not_specified():
    documented = re.findall(r"^### `(\w+)`$", read("docs/reference/hooks.md"), flags=re.MULTILINE)
    assert sorted(documented) == HOOKS


def test_every_kind_has_a_hook_of_its_own():
    assert set(KINDS.values()) <= set(HOOKS)
    assert len(set(KINDS.values())) == len(KINDS)


@pytest.mark.parametrize("file", [f"src/acme_routing/{name}.py" for name in ("plugin", "pool", "router")] + ["tests/test_acme_routing.py"])
def test_the_guide_shows_the_example_as_it_is(file):
    assert (EXAMPLE / file).read_text(encoding="utf-8").strip() in blocks("docs/how-to/write-a-plugin.md", "python")


def test_the_guide_shows_the_examples_project_file():
    assert [(EXAMPLE / "pyproject.toml").read_text(encoding="utf-8").strip()] == blocks("docs/how-to/write-a-plugin.md", "toml")


def test_the_guide_lists_every_file_that_the_build_reads():
    listed = re.findall(r"^  (\S+\.\w+)", read("docs/how-to/write-a-plugin.md"), flags=re.MULTILINE)
    assert all((EXAMPLE / file).is_file() for file in listed)
    project = blocks("docs/how-to/write-a-plugin.md", "toml")[0]
    assert set(re.findall(r'^readme = "(.+)"$', project, flags=re.MULTILINE)) <= set(listed)  # pip refuses a package without its readme


def test_the_guides_program_runs():
    program = blocks("docs/how-to/write-a-plugin.md", "python")[-1]
    preamble = (
        "import sys, aamc_sdk.plugins as plugins\n"
        f"sys.path.insert(0, {str(EXAMPLE / 'src')!r})\n"
        "import acme_routing.plugin\n"
        "plugins.get_plugin_manager = lambda: plugins.Plugins({'acme': acme_routing.plugin})\n"
    )
    ended = subprocess.run([sys.executable, "-c", preamble + program], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr


def test_continuous_integration_runs_the_readmes_test_line():
    assert TEST_LINE in read(".ci/run").splitlines()
    assert TEST_LINE in read("README.md")


def test_requirements_name_the_core_and_every_plugin():
    plugins = [f"-e {path.parent.relative_to(ROOT).as_posix()}" for path in sorted(ROOT.glob("plugins/*/pyproject.toml"))]
    named = [line.partition("[")[0] for line in read("requirements.txt").splitlines()]  # without extras
    assert named == ["-c constraints.txt", "-e .", *plugins]


def prose(path):
    """Return a page without its code blocks."""
    return re.sub(r"^```.*?^```$", "", read(path), flags=re.DOTALL | re.MULTILINE)


def anchors(path):
    """Return the anchors of a page's headings, as the forge and Sphinx make them."""
    headings = re.findall(r"^#+ (.*)$", prose(path), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


def test_every_library_of_a_distribution_has_its_reason_in_the_decisions():
    tomllib = pytest.importorskip("tomllib")  # of Python 3.11
    reasons = read("docs/decisions/libraries.md").lower()
    for file in [ROOT / "pyproject.toml", *ROOT.glob("plugins/*/pyproject.toml")]:
        project = tomllib.loads(file.read_text(encoding="utf-8"))["project"]
        extras = {name: libraries for name, libraries in project.get("optional-dependencies", {}).items() if name not in ("test", "tests")}
        for library in {re.split(r"[^\w.-]", each)[0].lower() for each in sum(extras.values(), project["dependencies"])}:
            assert library.startswith("aamc-") or library in reasons, f"{file.parent.name} depends on {library}"


@pytest.mark.parametrize("page", PAGES)
def test_every_relative_link_leads_to_a_file_and_a_heading(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        found = ((ROOT / page).parent / path).resolve() if path else ROOT / page
        assert found.exists(), f"{page} links to {target}, which does not exist"
        if anchor and found.suffix == ".md":
            assert anchor in anchors(found.relative_to(ROOT).as_posix()), f"{page} links to {target}, which has no such heading"


@pytest.mark.parametrize("page", PAGES)
def test_programs_in_the_docs_import_public_names_only(page):
    for program in blocks(page, "python"):
        try:
            tree = ast.parse(textwrap.dedent(program))
        except SyntaxError:  # a signature, not a program
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and node.module and node.module.partition(".")[0] == "aamc_sdk":
                assert node.module.count(".") <= 1, f"{page} imports from {node.module}, which is private"
                module = importlib.import_module(node.module)
                missing = [alias.name for alias in node.names if alias.name not in getattr(module, "__all__", dir(module))]
                assert not missing, f"{page}: {node.module} does not export {missing}"


NAMED = [
    (page, name)
    for page in PAGES
    if page.startswith("docs/") and not page.startswith("docs/reference/python/")
    for name in sorted(set(re.findall(r"`(aamc_\w+(?:\.\w+)+)[^`\n]*`", prose(page))))
    if find_spec(name.partition(".")[0]) is not None
]


def resolve(name):
    """Import a dotted name: the longest part that is a module, then its attributes."""
    parts = name.split(".")
    for length in range(len(parts), 0, -1):
        module = ".".join(parts[:length])
        try:
            found = importlib.import_module(module)
        except ModuleNotFoundError as error:
            if error.name is None or not f"{module}.".startswith(f"{error.name}."):
                raise
            continue
        for part in parts[length:]:
            found = getattr(found, part)
        return found
    raise ModuleNotFoundError(f"there is no module {name}")


@pytest.mark.parametrize(("page", "name"), NAMED)
def test_every_dotted_name_in_the_docs_exists(page, name):
    try:
        resolve(name)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("aamc_"):
            raise
        assert find_spec(name) is not None  # a module for a library that is not installed here


def test_a_dotted_name_that_does_not_exist_is_noticed():
    assert resolve("aamc_sdk.config.option") is not None
    with pytest.raises(AttributeError):
        resolve("aamc_sdk.config.options.nothing")


def unknown_arguments(call):
    """Return the keywords of a call that its function lacks, for functions of this SDK."""
    found = ast.parse(call, mode="eval").body
    head, *attributes = ast.unparse(found.func).split(".")
    modules = [importlib.import_module(f"aamc_sdk{part}") for part in ("", ".types", ".interfaces", ".config")]
    called = MetaController if head == "controller" else next((getattr(module, head) for module in modules if hasattr(module, head)), None)
    for name in attributes:
        called = getattr(called, name, None)
    parameters = inspect.signature(called).parameters if callable(called) and not inspect.isabstract(called) else {}
    open_ended = not parameters or any(each.kind is each.VAR_KEYWORD for each in parameters.values())
    return set() if open_ended else {keyword.arg for keyword in found.keywords} - parameters.keys()


@pytest.mark.parametrize("page", PAGES)
def test_every_call_in_the_docs_has_arguments_of_the_interface(page):
    for call in re.findall(r"`((?:controller\.|[A-Z]\w+)[\w.]*\([^`\n]*=[^`\n]*\))`", prose(page)):
        if not re.search(r"=[^,]*, \.\.\.", call):  # abridged
            assert not unknown_arguments(call), call


def test_an_argument_that_does_not_exist_is_noticed():
    assert unknown_arguments("MetaController(..., store=...)") == {"store"}
    assert unknown_arguments("controller.explain(id, words=3)") == {"words"}


@pytest.fixture
def reference(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "scripts")
    return importlib.import_module("python_reference")


def test_every_example_of_the_reference_runs(reference, tmp_path):
    program = "\n\n\n".join(reference.EXAMPLES.values())
    ended = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert set(reference.EXAMPLES) <= set(reference.public_modules())


def test_every_public_module_of_the_core_has_a_page(reference):
    core = {f"aamc_sdk.{path.stem}" for path in (ROOT / "aamc_sdk").iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}
    private = {"aamc_sdk.__init__", "aamc_sdk.builtin", "aamc_sdk.component_checks", "aamc_sdk.core_commands"}
    assert core - private == set(reference.MODULES) - {"aamc_sdk"}
    assert {f"{module}.md" for module in reference.public_modules()} < {path.name for path in (ROOT / "docs" / "reference" / "python").iterdir()}


def test_every_public_name_has_a_docstring(reference):
    public = [(module, name) for module in reference.public_modules() for name in reference.public_names(module)]
    assert ("aamc_sdk", "MetaController") in public
    assert [f"{module}.{name}" for module, name in public if not reference.docstring(module, name)] == []


def test_the_glossary_is_alphabetical_in_each_group():
    for group in re.split(r"^## ", read("docs/glossary.md"), flags=re.MULTILINE)[1:]:
        terms = re.findall(r"^### (.*)$", group, flags=re.MULTILINE)
        assert terms == sorted(set(terms), key=str.lower)


def test_the_meaning_of_every_option_is_a_sentence_or_begins_with_a_value():
    rows = re.findall(r"^\| `(\S+)` .*\| ([^|]+) \|$", read("docs/reference/options.md"), flags=re.MULTILINE)
    assert len(rows) > 500
    assert [name for name, meaning in rows if not re.fullmatch(r"(?:[^a-z]|[a-z-]+: ).*\.", meaning)] == []
