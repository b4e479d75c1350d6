"""The example that each page of the Python reference begins with; tests run all of them."""

EXAMPLES = {
    "aamc_sdk": """
from aamc_sdk import MetaController

with MetaController.build(router="random", seed=0) as controller:
    decision = controller.route("Sort a list in Python")
    controller.feedback(decision.id, quality=1.0)
""",
    "aamc_sdk.controller": """
import asyncio

from aamc_sdk import MetaController


async def main():
    with MetaController.build(router="random", store="memory:", seed=0) as controller:
        decision = await controller.aroute("Sort a list in Python", user="anna")
        await controller.aattempt(decision.id, cost_usd=0.0004, latency_ms=310.0)
        await controller.afeedback(decision.id, quality=1.0)
        return controller.explain(decision.id).why


print(asyncio.run(main()))
""",
    "aamc_sdk.types": """
from aamc_sdk.types import Latency, ModelSpec, Pool, Preference, Prices, Query, Turn

query = Query("And in Rust?", user="anna", needs={"tools"}, turns=[Turn("user", "Sort a list in Python"), Turn("assistant", "sorted(x)")])
pool = Pool([ModelSpec("small", "A small model.", prices=Prices(0.1, 0.4), latency=Latency(30, 300))])
preference = Preference(0.7, 0.2, 0.1)
""",
    "aamc_sdk.interfaces": """
import numpy as np

from aamc_sdk.interfaces import Requirements, Router
from aamc_sdk.types import RoutingRequest, Scores


class Cheapest(Router):
    requires = Requirements(cheap_rescoring=True)
    uses_preference = False

    def score(self, request: RoutingRequest) -> Scores:
        return Scores(-np.nan_to_num(request.expected.cost_usd, nan=1e6))
""",
    "aamc_sdk.errors": """
from aamc_sdk import MetaController
from aamc_sdk.errors import AamcError, NoCandidateError

with MetaController.build(router="random") as controller:
    try:
        controller.route("Describe the picture", needs={"vision"})
    except NoCandidateError as error:
        print(error)
    except AamcError:
        raise
""",
    "aamc_sdk.messages": """
from pathlib import Path

from aamc_sdk.errors import DataError
from aamc_sdk.messages import read_errors

try:
    with read_errors("rules.txt", "write one rule a line"):
        rules = Path("rules.txt").read_text(encoding="utf-8").splitlines()
except DataError as error:
    print(error)
""",
    "aamc_sdk.hookspecs": """
from aamc_sdk.hookspecs import Component, hookimpl


@hookimpl
def aamc_routers():
    return [Component("cheapest", "my_package.cheapest:Cheapest", "The cheapest allowed candidate.")]
""",
    "aamc_sdk.plugins": """
from aamc_sdk.config import describe_options
from aamc_sdk.plugins import get_plugin_manager

plugins = get_plugin_manager()
print(plugins.names("router"))
print(describe_options(plugins.load("store", "sqlite")))
""",
    "aamc_sdk.config": """
import attrs

from aamc_sdk.config import configure, option


@attrs.frozen(kw_only=True)
class Options:
    threshold: float = option(0.5, "Complexity above which the large model is chosen.", at_least=0, at_most=1)


assert configure(Options, {"threshold": 0.7}).threshold == 0.7
""",
    "aamc_sdk.routing": """
from aamc_sdk.routing import build_request, default_pool
from aamc_sdk.types import Preference, Query

request = build_request([Query("Sort a list in Python")], default_pool(), Preference().array)
print(request.expected.cost_usd.shape)  # (1, 7)
""",
    "aamc_sdk.serving": """
from pathlib import Path

from aamc_sdk.serving import Run

if Path("runs/latest").exists():
    print(Run.open("runs/latest").pool.names)
""",
    "aamc_sdk.explain": """
from aamc_sdk import MetaController

with MetaController.build(router="random", seed=0) as controller:
    decision = controller.route("Sort a list in Python")
    explanation = controller.explain(decision.id)
    print(explanation.why, explanation.view(decision.candidate).expected_reward)
""",
    "aamc_sdk.log": """
from aamc_sdk import get_plugin_manager
from aamc_sdk.log import open_store

log = open_store("memory:", get_plugin_manager())
print(log.experience(after=0).decisions)
log.close()
""",
    "aamc_sdk.storage": """
from pathlib import Path

from aamc_sdk.storage import read_arrays, read_json, write_arrays, write_json

write_json(Path("state.json"), {"threshold": 0.5})
write_arrays(Path("state.npz"), {"weights": [0.1, 0.9]})
print(read_json(Path("state.json")), read_arrays(Path("state.npz")))
""",
    "aamc_sdk.cli": """
import click

from aamc_sdk.cli import JSON, plugins_of, write_json_line


@click.command()
@JSON
@click.pass_context
def routers(ctx: click.Context, as_json: bool) -> None:
    \"\"\"List the installed routers.\"\"\"
    names = plugins_of(ctx).names("router")
    write_json_line({"routers": names}) if as_json else click.echo("\\n".join(names))
""",
    "aamc_sdk.testing": """
from aamc_sdk import get_plugin_manager
from aamc_sdk.testing import assert_conforms

assert_conforms("model_pool", "default", get_plugin_manager())
""",
    "aamc_experiments.evaluation": """
import numpy as np

from aamc_experiments.evaluation import hull

print(hull(np.array([1.0, 2.0, 4.0]), np.array([0.50, 0.55, 0.80])))
""",
}
