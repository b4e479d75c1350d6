"""Configuration files of this SDK and of other systems."""

import pytest

from aamc_sdk import Component, hookimpl
from aamc_sdk.errors import ConfigError, PluginError
from aamc_sdk.interfaces import ConfigFormat
from aamc_sdk.plugins import Plugins
from aamc_sdk.serving import components_from_file, recognized_format


def plugins(**extra):
    return Plugins(extra, discover=False)


class FailingFormat(ConfigFormat):
    def recognizes(self, content):
        return content["routes"]

    def serving(self, content, path, decision=None):
        raise NotImplementedError

    def experiment(self, content, path, decision=None, router=None):
        raise NotImplementedError


FORMAT_FAILED = "config format 'failing' failed: KeyError: 'routes'; correct the plugin, or leave it out with AAMC_DISABLE_PLUGINS=broken"


def test_a_configuration_format_that_fails_is_named_where_the_file_may_be_its_own():
    with pytest.raises(PluginError, match=f"^{FORMAT_FAILED}$"):
        recognized_format(plugins(broken=Formats(failing="FailingFormat")), {"models": "thompson"})


def test_a_configuration_format_that_fails_harms_no_other(caplog):
    found = recognized_format(plugins(broken=Formats(failing="FailingFormat"), zoo=Formats("one")), {"models": {}})
    assert found.message_name == "config format 'one'"
    assert FORMAT_FAILED in caplog.text


def test_a_configuration_format_that_fails_does_not_harm_the_sdks_own_files(caplog):
    assert recognized_format(plugins(broken=Formats(failing="FailingFormat", gone="Missing")), {"gateway": {"port": 1}}) is None
    assert caplog.text == ""


class Everything(ConfigFormat):
    """Recognizes too much."""

    def recognizes(self, content):
        return True

    def serving(self, content, path, decision=None):
        raise ConfigError(f"{path}: zoo must name animals")

    def experiment(self, content, path, decision=None, router=None):
        raise NotImplementedError


class Formats:
    def __init__(self, *names, **classes):
        self.classes = dict.fromkeys(names, "Everything") | classes

    @hookimpl
    def aamc_config_formats(self):
        return [Component(name, f"{__name__}:{target}", "") for name, target in self.classes.items()]


def test_a_file_of_this_sdk_is_never_taken_for_another_systems(tmp_path):
    found = Plugins({"zoo": Formats("one")}, discover=False)
    for content in ({"router": "random", "gateway": {"port": 1}}, {"gateway": {"port": 1}}, {}):
        assert recognized_format(found, content) is None
    (tmp_path / "zoo.yaml").write_text("models: {}")
    with pytest.raises(ConfigError, match=r"zoo.yaml: zoo must name animals \(read as config format 'one'\)$"):
        components_from_file(tmp_path / "zoo.yaml", found)


def test_two_formats_that_recognize_a_file_are_named():
    with pytest.raises(PluginError, match=r"^config format 'one' and config format 'two' both recognize the file; disable the plugin of one"):
        recognized_format(Plugins({"zoo": Formats("one", "two")}, discover=False), {"models": {}})
