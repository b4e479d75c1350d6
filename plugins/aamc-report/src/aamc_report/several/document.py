"""What several runs measured, as a document for scripts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs

from aamc_report.several.pairs import Pair
from aamc_report.several.runs import Runs, differences, questions_hash


def document(runs: Runs, paired: Sequence[Pair]) -> dict[str, Any]:
    """Return each run's metrics, the settings that differ, and the paired differences.

    Args:
        runs: One run or several.
        paired: What :func:`~aamc_report.several.pairs.pairs` says of them.
    """
    return {
        "schema": 1,
        "runs": [
            {
                "name": name,
                "folder": results.run.folder,
                "router": results.headline,
                "test_sha256": questions_hash(results),
                "data": results.data,
                "routers": results.routers,
            }
            for name, results in runs.items()
        ],
        "settings": differences(runs),
        "paired": [attrs.asdict(pair) for pair in paired],
    }
