from __future__ import annotations

import sys
from pathlib import Path

import pytest
from aamc_tce.checks import check_cache, check_encoders

from aamc_sdk.plugins import get_plugin_manager
from aamc_sdk.testing import assert_conforms


@pytest.mark.parametrize("name", ["encoders", "embedding-cache"])
def test_the_checks_conform(name: str) -> None:
    assert_conforms("check", name, get_plugin_manager())


def test_every_named_encoder_is_at_hand_or_says_how_to_get_it() -> None:
    found = {diagnosis.subject: diagnosis for diagnosis in check_encoders()}
    assert list(found) == [f"encoder {name}" for name in ("bundled", "distilbert-base-uncased", "bert-tiny", "mobilebert")]
    assert found["encoder bundled"].status == "ok"
    assert all(diagnosis.state.startswith("found in ") or diagnosis.advice for diagnosis in found.values())


@pytest.mark.parametrize("error", [ImportError("no libtorch"), OSError("no\nlibcuda")])
def test_without_torch_only_exported_checkpoints_can_be_served(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    class Failing:
        def find_spec(self, name: str, *_: object) -> None:
            if name == "torch":
                raise error

    monkeypatch.delitem(sys.modules, "torch", raising=False)
    monkeypatch.delitem(sys.modules, "aamc_tce.encoders.torch_encoder", raising=False)
    monkeypatch.setattr(sys, "meta_path", [Failing(), *sys.meta_path])
    (diagnosis,) = check_encoders()
    assert (diagnosis.subject, diagnosis.status) == ("encoders", "warning")
    assert " ".join(str(error).split()) in diagnosis.state
    assert "--export onnx" in diagnosis.advice


def test_the_cache_tells_its_folder_and_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AAMC_CACHE", str(tmp_path / "mine"))
    assert [diagnosis.state for diagnosis in check_cache()] == [f"{tmp_path / 'mine'}, 0 MB"]
    monkeypatch.setenv("AAMC_CACHE", "/proc/cache")
    assert [(diagnosis.status, diagnosis.advice) for diagnosis in check_cache()] == [("warning", "set AAMC_CACHE to a folder that can")]


def test_a_file_in_place_of_the_cache_is_warned_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("AAMC_CACHE", str(tmp_path / "file"))
    assert [diagnosis.status for diagnosis in check_cache()] == ["warning"]
