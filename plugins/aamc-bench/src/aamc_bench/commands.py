"""The commands ``aamc bench ...``, one for each benchmark, and ``aamc reproduce fig5``."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from aamc_bench.options import (
    DATASET,
    DATASETS,
    MAXIMUM,
    MAXIMUM_CANDIDATES,
    MAXIMUM_EPISODES,
    ROUTERS,
    SEED,
    SEEDS,
    WORKERS,
    Numbers,
    benchmark_options,
    run_options,
)
from aamc_sdk.cli import JSON, OUT, RESUME, Folder, plugins_of
from aamc_sdk.errors import ConfigError

if TYPE_CHECKING:
    from aamc_bench.benchmark import Benchmark


@click.command("compare")
@DATASETS
@ROUTERS
@SEEDS
@benchmark_options()
def compare(**given: Any) -> None:
    """Compare routers on several datasets and seeds, in one table.

    Every dataset and seed is one run in its own process. Continue an interrupted comparison with --resume.

    Example: aamc bench compare --dataset synthetic --routers ppo,greedy,best-single,oracle --seeds 0,1,2
    """
    from aamc_bench.compare import CompareBenchmark

    CompareBenchmark().run(**given)


@click.command("scalability")
@click.option(
    "--model-counts", type=Numbers(int, minimum=2, maximum=MAXIMUM_CANDIDATES), metavar="3,5,...", help="Sizes of the pool (default: 3,5,10,20)."
)
@click.option("--n-queries", type=click.IntRange(min=1, max=MAXIMUM), help="Decisions to time one at a time (default: 1000).")
@ROUTERS
@SEED
@benchmark_options()
def scalability(**given: Any) -> None:
    """Measure decision time and utility against the number of candidates.

    A larger pool has seeded variations of the models of the default pool, or of --pool, in the simulator. Routers are trained for each
    size; then their decisions are timed while nothing else runs.

    Example: aamc bench scalability --model-counts 3,5,10,20 --n-queries 1000
    """
    from aamc_bench.scalability.benchmark import ScalabilityBenchmark

    ScalabilityBenchmark().run(**given)


@click.command("unseen-models")
@DATASETS
@ROUTERS
@SEEDS
@click.option(
    "--newcomers", type=click.IntRange(min=1, max=MAXIMUM_CANDIDATES), metavar="K", help="Number of new candidates, drawn by the seed (default: 1)."
)
@click.option(
    "--outcomes", type=Numbers(int, minimum=1, maximum=MAXIMUM), metavar="10,50,...", help="Training outcomes of each newcomer (default: 10,50,200)."
)
@benchmark_options()
def unseen_models(**given: Any) -> None:
    """Measure routing with candidates that have no training outcomes.

    Estimator and routers are trained without K candidates, which are then added with their descriptions alone, with some outcomes
    of each, and with all. The routing without them is measured too.

    Example: aamc bench unseen-models --dataset llmrouter:data/llmrouter --outcomes 10,50,200 --seeds 0,1,2
    """
    from aamc_bench.unseen_models.benchmark import UnseenModelsBenchmark

    UnseenModelsBenchmark().run(**given)


@click.command("robustness")
@click.argument("run", required=False, type=click.Path(path_type=Path))
@click.option("--noise-levels", type=Numbers(float, minimum=0, maximum=1), metavar="0.0,0.1,...", help="Noise levels (default: 0.0,0.1,0.2,0.3).")
@click.option(
    "--n-episodes",
    type=click.IntRange(min=1, max=MAXIMUM_EPISODES),
    help="Simulator streams, or samples of test rows, per measurement (default: 20).",
)
@click.option("--kinds", metavar="A,B,...", help="Kinds of noise: estimates, typos, case, padding, prefix, shift (default: all).")
@click.option("--groups", type=click.IntRange(min=2), help="Groups of categories that shift holds out in turn (default: 2).")
@ROUTERS
@DATASET
@SEED
@benchmark_options()
def robustness(**given: Any) -> None:
    """Measure routers under noise on estimates and texts, and on categories without training data.

    RUN is the folder of a finished run. Without RUN, a run is made first.

    Example: aamc bench robustness runs/latest --noise-levels 0.0,0.1,0.2,0.3 --n-episodes 20
    """
    from aamc_bench.robustness.benchmark import RobustnessBenchmark

    RobustnessBenchmark().run(**given)


@click.command("bandit")
@DATASETS
@ROUTERS
@click.option("--scenarios", metavar="A,B,...", help="Scenarios: stationary, drift, new-model, delayed, sparse, poisoned, restart (default: all).")
@click.option("--estimates", metavar="A,B", help="Training data of the estimator: outcomes, labels (default: both).")
@SEEDS
@click.option("--streams", type=click.IntRange(min=1, max=MAXIMUM_EPISODES), help="Streams per seed (default: 2).")
@click.option("--steps", type=click.IntRange(min=1, max=MAXIMUM), help="Decisions per stream, at most one per row (default: 800).")
@click.option("--traffic", metavar="A,B,...", help="Traffic for --budgets: stationary, drift, bursty, or none (default: all).")
@click.option(
    "--budgets",
    type=Numbers(float, minimum=0, maximum=1, minimum_open=True),
    metavar="0.05,0.25,...",
    help="Daily budgets, from above 0 (always the cheapest candidate) to 1 (always the best) (default: 0.25).",
)
@benchmark_options("lexical")
def bandit(**given: Any) -> None:
    """Measure the cost of learning online, in several scenarios.

    Routers without training outcomes decide held-out rows one by one and learn from feedback. Regret is the sum of the differences
    to each query's best reward. The best fixed candidate and random choices are measured too.

    If ParetoBandit is installed (pip install paretobandit), router paced is compared with it under a daily budget.

    Example: aamc bench bandit --dataset llmrouter:data/llmrouter --scenarios stationary,drift --seeds 0,1,2
    """
    from aamc_bench.bandit.benchmark import BanditBenchmark

    BanditBenchmark().run(**given)


@click.command("control")
@click.option("--scenario", "scenarios", metavar="A,B,...", help="Scenarios of environment queue (default: all but default).")
@click.option("--pool", metavar="NAME|FILE", help="Model pool (default: each scenario's own).")
@click.option("--set", "assignments", multiple=True, metavar="KEY=VALUE", help="Set one option, such as environment.load=1.5; repeatable.")
@click.option("--preference", metavar="Q,C,L", help="Weights of quality, cost and latency (default: each scenario's own).")
@SEEDS
@click.option("--steps", type=click.IntRange(min=1), help="Training decisions of ppo (default: the preset's).")
@click.option("--preset", type=click.Choice(["quick", "full", "paper"]), help="Preset of ppo (default: full).")
@click.option("--sb3", is_flag=True, help="Also train Stable-Baselines3's PPO, if it is installed.")
@WORKERS
@OUT
@RESUME
@JSON
def control(**given: Any) -> None:
    """Measure the gain from planning ahead under load, limits and budgets.

    Router ppo is trained with true expectations and random preferences, then compared at one preference with random choices, greedy on
    estimates, greedy on true expectations, and the scenario's reference policy.

    Example: aamc bench control --scenario scarce-server --set environment.load=2 --preference 0.98,0,0.02 --seeds 0,1,2
    """
    from aamc_bench.control.benchmark import ControlBenchmark

    given["sb3"] = given["sb3"] or None
    ControlBenchmark().run(**given)


@click.command("speed")
@click.option("--parts", metavar="A,B,...", help="Parts: simulator, ppo, decision, estimate, startup, evaluation (default: all).")
@click.option("--preset", type=click.Choice(["quick", "full"]), help="quick shortens long work and extrapolates (default: quick).")
@OUT
@RESUME
@JSON
def speed(**given: Any) -> None:
    """Compare the speed of all parts with other programs in the same run.

    The measurements are scripts of the repository, so the command needs a checkout. A comparison with a program that is not
    installed, such as Stable-Baselines3, is left out with the reason.

    Example: aamc bench speed --parts simulator,startup
    """
    scripts = next((folder / "benchmarks" for folder in Path(__file__).parents if (folder / "benchmarks" / "speed").is_dir()), None)
    if scripts is None:
        raise ConfigError("aamc bench speed needs the scripts of the repository; install from a checkout: pip install -r requirements.txt")
    if str(scripts) not in sys.path:
        sys.path.append(str(scripts))  # the jobs' processes inherit it
    benchmark: Benchmark = import_module("speed.benchmark").SpeedBenchmark()
    benchmark.run(**given)


@click.command("fig5")
@click.option("--run", type=Folder(path_type=Path), help="Existing run (default: make one like aamc run --router ppo).")
@SEED
@run_options()
@click.pass_context
def fig5(ctx: click.Context, /, **given: Any) -> None:
    """Make Figure 5 of the AAMC paper: success, cost, latency and efficiency of the strategies, with 95% intervals.

    Writes figures/fig5.png and .svg, their data as fig5.csv and fig5.json, and the paper's claims with the run's values.

    Example: aamc reproduce fig5 --preset full
    """
    from aamc_bench.fig5 import FigureFive

    FigureFive(plugins_of(ctx)).run(**given)
