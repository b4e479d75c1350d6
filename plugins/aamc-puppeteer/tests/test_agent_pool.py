import re

import pytest
from aamc_agents.roles import Reasoner, RoleConfig
from aamc_puppeteer.episodes.executor import pool_of
from aamc_puppeteer.orchestrator import Puppeteer

from aamc_sdk import Agent, AgentOutput
from aamc_sdk.errors import PoolError
from aamc_sdk.interfaces import NoOptions


class Nameless(Agent):
    async def execute(self, state: object) -> AgentOutput:
        return AgentOutput("")


@pytest.mark.parametrize(
    ("agents", "words"),
    [
        ([], "there is no agent; name at least one"),
        (["calculator", "parser", "calculator"], "two are called 'calculator'"),
        ([42], "42 is neither"),
        ([Nameless(NoOptions(), None)], "Nameless has no spec; give its class one"),
    ],
)
def test_a_team_that_cannot_work_is_refused_in_the_words_of_agents(agents: list, words: str) -> None:
    with pytest.raises(PoolError, match=re.escape(words)):
        Puppeteer.of(agents)


def test_a_role_needs_no_services() -> None:
    assert pool_of([Reasoner(RoleConfig(), None)]).names == ("reasoner",)
