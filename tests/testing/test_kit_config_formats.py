"""A broken configuration format is caught by the check that is meant for it."""

import pytest
from offering import failed

from aamc_sdk.errors import ConfigError
from aamc_sdk.interfaces import ConfigFormat, ForeignSettings
from aamc_sdk.testing import check_component


class Fair(ConfigFormat):
    """Reads ``strategies: [NAME, ...]``, of which the first counts."""

    @classmethod
    def example(cls):
        return {"strategies": ["thompson", "random"]}

    def recognizes(self, content):
        return "strategies" in content

    def serving(self, content, path, decision=None):
        strategies = content["strategies"]
        if not isinstance(strategies, list) or not strategies or not isinstance(strategies[0], str):
            raise ConfigError(f"{path}: strategies must be a list of names, not {strategies!r}")
        return ForeignSettings({"router": strategies[0]})

    def experiment(self, content, path, decision=None, router=None):
        return {"router": router or self.serving(content, path).content["router"]}


class Greedy(Fair):
    def recognizes(self, content):
        return True


class Shy(Fair):
    def recognizes(self, content):
        return False


class Own(Fair):
    """Takes a section of the SDK's own files for its own."""

    @classmethod
    def example(cls):
        return {"gateway": {"strategy": "random"}}

    def recognizes(self, content):
        return "gateway" in content


class Untested(Fair):
    @classmethod
    def example(cls):
        return None


class Forgetful(Fair):
    def serving(self, content, path):
        return super().serving(content, path)


class Plain(Fair):
    def serving(self, content, path, decision=None):
        return super().serving(content, path).content

    def experiment(self, content, path, decision=None, router=None):
        return {"router": "random"}


class Foreign(Fair):
    def serving(self, content, path, decision=None):
        return ForeignSettings({**super().serving(content, path).content, "strategies": 1})


class Unusable(Fair):
    def serving(self, content, path, decision=None):
        return ForeignSettings({**super().serving(content, path).content, "preference": "fast"})


class Listing(Fair):
    def serving(self, content, path, decision=None):
        return ForeignSettings(super().serving(content, path).content, ["a", "b"])


class Consuming(Fair):
    def serving(self, content, path, decision=None):
        found = super().serving(content, path)
        content.clear()
        return found


class Fragile(Fair):
    def experiment(self, content, path, decision=None, router=None):
        return {"router": router or content["strategies"][0]["name"] if router else content["strategies"][0].lower()}


class Unclear(Fair):
    def experiment(self, content, path, decision=None, router=None):
        return [router]


@pytest.mark.parametrize(
    ("target", "check"),
    [
        (Greedy, "it leaves other files alone"),
        (Shy, "it recognizes its example"),
        (Own, "it recognizes its example"),
        (Forgetful, "its methods take the arguments of the interface"),
        (Plain, "its example can be served"),
        (Foreign, "its example can be served"),
        (Unusable, "its example can be served"),
        (Listing, "its example can be served"),
        (Consuming, "its example can be served"),
        (Unclear, "its example can be an experiment"),
        (Fragile, "damaged files are errors that the user can read"),
    ],
)
def test_a_broken_configuration_format_is_caught(offer, target, check):
    assert check in failed(offer("config_format", target), "config_format")


def test_the_message_says_what_is_wrong(offer):
    messages = [finding.message for finding in check_component("config_format", "mine", offer("config_format", Foreign)) if not finding.passed]
    assert messages[0].startswith("serving returns the keys strategies, which mean nothing here (keys: device, estimator, ")
    messages = [finding.message for finding in check_component("config_format", "mine", offer("config_format", Fragile)) if not finding.passed]
    assert messages[0].startswith("experiment of its example with strategies: None must raise ConfigError, not TypeError: ")


def test_a_fair_configuration_format_passes_and_one_without_an_example_is_told_what_is_left_out(offer):
    assert failed(offer("config_format", Fair), "config_format") == set()
    skipped = [finding.message for finding in check_component("config_format", "mine", offer("config_format", Untested)) if finding.skipped]
    assert skipped == ["it has no example: return the content of a valid file from example"] * 4
