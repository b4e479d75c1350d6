"""A plugin that offers one component, for the conformance kit to check."""

from aamc_sdk import Component, hookimpl
from aamc_sdk.plugins import KINDS
from aamc_sdk.testing import check_component


class Offering:
    """Offers a component ``mine`` of one kind."""

    def __init__(self, kind, target="kit_target:target"):
        setattr(self, KINDS[kind], hookimpl(lambda: [Component("mine", target, "")]))


def failed(plugins, kind):
    """Return the names of the checks that the component ``mine`` fails."""
    return {finding.check for finding in check_component(kind, "mine", plugins) if not finding.passed}
