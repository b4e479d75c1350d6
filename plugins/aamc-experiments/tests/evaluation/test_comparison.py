from __future__ import annotations

from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest
from aamc_experiments.evaluation import Comparison

from aamc_sdk.errors import CheckpointError
from aamc_sdk.storage import read_arrays, write_arrays


def test_a_comparison_comes_back_as_it_was_saved(table: Any, routers: Any, tmp_path: Path) -> None:
    comparison = table.compare({"greedy": routers.Greedy(routers.options, table.services)})
    comparison.save(tmp_path / "decisions.npz")
    loaded = Comparison.load(tmp_path / "decisions.npz")
    for field in attrs.fields(Comparison):
        np.testing.assert_array_equal(getattr(loaded, field.name), getattr(comparison, field.name))


def test_a_truncated_file_is_a_one_line_error(table: Any, routers: Any, tmp_path: Path) -> None:
    path = tmp_path / "decisions.npz"
    table.compare({"greedy": routers.Greedy(routers.options, table.services)}).save(path)
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(CheckpointError, match="damaged"):
        Comparison.load(path)


def test_a_comparison_that_was_changed_is_refused(table: Any, routers: Any, tmp_path: Path) -> None:
    path = tmp_path / "decisions.npz"
    table.compare({"greedy": routers.Greedy(routers.options, table.services)}).save(path)
    write_arrays(path, read_arrays(path) | {"cost_usd": np.full((43, 4), -7.5)})
    with pytest.raises(CheckpointError, match=r"decisions\.npz was changed after it was written; complete the run with"):
        Comparison.load(path)


def test_some_other_npz_is_refused_by_what_it_lacks(tmp_path: Path) -> None:
    np.savez(tmp_path / "other.npz", routers=np.array(["a"]))
    with pytest.raises(CheckpointError, match="lacks preferences, queries"):
        Comparison.load(tmp_path / "other.npz")


def test_what_deciding_cost_is_part_of_the_realised_cost(table: Any, routers: Any) -> None:
    router = routers.Always(routers.options, table.services)
    router.spent_usd = 0.25
    comparison = table.compare({"always": router})
    np.testing.assert_allclose(comparison.realised(0).cost_usd, 1.25)
    np.testing.assert_array_equal(comparison.cost_usd, table.outcomes.cost_usd)


def test_what_deciding_took_is_part_of_the_realised_latency(table: Any, routers: Any) -> None:
    router = routers.Always(routers.options, table.services)
    router.spent_ms = 30.0
    np.testing.assert_allclose(table.compare({"always": router}).realised(0).latency_ms, 130.0 * np.ones((43, 4)))


def test_a_file_from_before_that_was_kept_counts_none(table: Any, routers: Any, tmp_path: Path) -> None:
    comparison = table.compare({"always": routers.Always(routers.options, table.services)})
    arrays = attrs.asdict(comparison, recurse=False)
    del arrays["spent_ms"]
    np.savez(tmp_path / "decisions.npz", **arrays)
    np.testing.assert_array_equal(Comparison.load(tmp_path / "decisions.npz").realised(0).latency_ms, comparison.realised(0).latency_ms)
