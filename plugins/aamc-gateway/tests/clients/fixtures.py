"""The official clients, and the servers that they are pointed at: the stub itself, and the gateway in front of it."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import attrs
import pytest
from aamc_gateway.testing import GatewayProcess, stub_candidate
from aamc_models.testing import Script, StubServer
from clients.calls import APIS, SDKS, Call, NodeDriver, Result, call_python

HERE = Path(__file__).parent


@attrs.frozen
class Target:
    """What a client is pointed at.

    Attributes:
        url: The base URL, without ``/v1``.
        model: The model to ask for.
        stub: The stub that answers in the end; its model is named ``good``.
        routed: Whether a gateway stands before it.
    """

    url: str
    model: str
    stub: StubServer
    routed: bool

    def script(self, script: Script) -> None:
        """Set what the model does."""
        self.stub.scripts["good"] = script


def needs_service(reason: str) -> None:
    """Skip the test, or fail where every service is required."""
    assert not os.environ.get("AAMC_REQUIRE_SERVICES"), reason
    pytest.skip(reason)


def node_modules() -> Path:
    """Return a folder with the Node clients, which is kept for later sessions; npm installs them once."""
    if shutil.which("npm") is None or shutil.which("node") is None:
        needs_service("no node and npm here: install Node 20 or later")
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "aamc-tests"
    version = hashlib.sha256((HERE / "node" / "package.json").read_bytes()).hexdigest()[:16]
    folder = cache / f"node-{version}"
    if not folder.exists():
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache) as made:
            shutil.copy(HERE / "node" / "package.json", made)
            command = ["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix", made]
            installed = subprocess.run(command, capture_output=True, text=True, check=False)
            if installed.returncode != 0:
                needs_service(f"npm could not install the Node clients: {installed.stderr[-500:]}")
            try:
                Path(made).rename(folder)
            except OSError:  # another session was quicker
                assert folder.exists()
            Path(made).mkdir(exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def node() -> Iterator[NodeDriver]:
    """The Node clients, in one process for all tests."""
    with NodeDriver(node_modules(), HERE / "node" / "driver.mjs") as driver:
        yield driver


@pytest.fixture(params=SDKS)
def sdk(request: pytest.FixtureRequest) -> str:
    """Each official client in turn."""
    return str(request.param)


@pytest.fixture(params=["python-openai", "node-openai"])
def openai_sdk(request: pytest.FixtureRequest) -> str:
    """Each client of OpenAI in turn."""
    return str(request.param)


@pytest.fixture(params=["python-anthropic", "node-anthropic"])
def anthropic_sdk(request: pytest.FixtureRequest) -> str:
    """Each client of Anthropic in turn."""
    return str(request.param)


@pytest.fixture(params=[(sdk, api) for sdk in SDKS for api in APIS[sdk.partition("-")[2]]], ids="-".join)
def sdk_api(request: pytest.FixtureRequest) -> tuple[str, str]:
    """Each official client in turn with each of its APIs for answers."""
    sdk, api = request.param
    return sdk, api


@pytest.fixture(params=[False, True], ids=["whole", "streamed"])
def streamed(request: pytest.FixtureRequest) -> bool:
    """Both ways to answer."""
    return bool(request.param)


@pytest.fixture
def call(request: pytest.FixtureRequest) -> Callable[[str, Call], Result]:
    """Make a call with a client."""

    def make(sdk: str, asked: Call) -> Result:
        if sdk.startswith("python-"):
            return call_python(sdk, asked)
        driver: NodeDriver = request.getfixturevalue("node")
        return driver.call(sdk, asked)

    return make


@pytest.fixture(scope="session")
def shared_stub() -> Iterator[StubServer]:
    with StubServer() as stub:
        yield stub


@pytest.fixture(scope="session")
def shared_gateway(shared_stub: StubServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    """A gateway with one model in OpenAI's dialect, and the same one in Anthropic's."""
    candidates = [
        stub_candidate("good", f"{shared_stub.url}/v1", apis=["chat", "completions", "embeddings", "responses"]),
    ]
    with GatewayProcess(tmp_path_factory.mktemp("gateway"), candidates) as gateway:
        yield gateway


@pytest.fixture(params=["stub", "named", "auto"])
def target(request: pytest.FixtureRequest, shared_stub: StubServer) -> Iterator[Target]:
    """The stub itself, which shows that a test is right; the gateway with the model's name; and the gateway that chooses."""
    shared_stub.scripts.clear()
    shared_stub.clear()
    if request.param == "stub":
        yield Target(shared_stub.url, "good", shared_stub, routed=False)
        return
    gateway: GatewayProcess = request.getfixturevalue("shared_gateway")
    yield Target(gateway.url, "aamc/auto" if request.param == "auto" else "good", shared_stub, routed=True)
