"""The hooks of this package; importing it loads no implementation."""

from __future__ import annotations

from aamc_sdk import Component, hookimpl


@hookimpl
def aamc_orchestrators() -> list[Component]:
    """Offer Router-R1."""
    return [Component("router-r1", "aamc_router_r1.orchestrator:RouterR1", "A language model consults models of the pool over several rounds.")]


@hookimpl
def aamc_routers() -> list[Component]:
    """Offer Router-R1's first call as a router, and its policy trained on outcomes."""
    return [
        Component("router-r1", "aamc_router_r1.single.router:RouterR1Router", "Asks a language model which candidate to call."),
        Component(
            "router-r1-choice", "aamc_router_r1.single.choice_router:ChoiceRouter", "A language model trained on outcomes names the candidate."
        ),
    ]


@hookimpl
def aamc_datasets() -> list[Component]:
    """Offer the question-answering benchmarks of the paper, the training records, and the synthetic world."""
    formats = "aamc_router_r1.questions"
    return [
        Component("nq", f"{formats}:NaturalQuestions", "Natural Questions, open domain: questions with gold answers."),
        Component("triviaqa", f"{formats}:TriviaQA", "TriviaQA: questions with gold answers."),
        Component("popqa", f"{formats}:PopQA", "PopQA: questions with gold answers."),
        Component("hotpotqa", f"{formats}:HotpotQA", "HotpotQA: questions of two hops with gold answers."),
        Component("2wiki", f"{formats}:TwoWiki", "2WikiMultihopQA: questions of several hops with gold answers."),
        Component("musique", f"{formats}:MuSiQue", "MuSiQue: questions of two to four hops with gold answers."),
        Component("bamboogle", f"{formats}:Bamboogle", "Bamboogle: questions of two hops with gold answers."),
        Component("router-r1", "aamc_router_r1.data:RoutingRecords", "Training records of Router-R1: questions, models and the best model."),
        Component("router-r1-world", "aamc_router_r1.world:WorldTasks", "Tasks of a synthetic world with known truth."),
    ]


@hookimpl
def aamc_providers() -> list[Component]:
    """Offer the provider of trained policies."""
    return [Component("router-r1", "aamc_router_r1.training.provider:CheckpointProvider", "A trained policy, computed in this process.")]


@hookimpl
def aamc_commands() -> list[Component]:
    """Offer the server of single decisions, and the traces of episodes."""
    return [
        Component("serve-router", "aamc_router_r1.commands:serve_router", "Serve a Router-R1 policy over HTTP, such as to vLLM Semantic Router."),
        Component("trace", "aamc_router_r1.commands:trace", "Show episodes of router-r1, in the terminal or as an HTML page."),
    ]
