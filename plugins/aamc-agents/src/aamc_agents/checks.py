"""The check of the sandbox for ``aamc doctor``."""

from __future__ import annotations

import asyncio

from aamc_agents.sandbox import Limits, run_python
from aamc_sdk.interfaces import Diagnosis


def check_sandbox() -> list[Diagnosis]:
    """Check that programs of the agent ``python`` run, and which fences confine them."""
    ran = asyncio.run(run_python(["print(6 * 7)"], Limits()))
    fences = f"programs are confined by: {', '.join(ran.fences) or 'nothing'}"
    if ran.error is not None or ran.printed.strip() != "42":
        return [Diagnosis("sandbox", f"a program failed: {ran.error or ran.printed!r}", "broken", "leave the agent python out (--agents)")]
    if not ran.fenced_by_kernel:
        advice = "let the agent python run only programs that you trust, or use Linux 5.13 or later with Landlock and libseccomp"
        return [Diagnosis("sandbox", f"{fences}; the kernel does not help", "warning", advice)]
    return [Diagnosis("sandbox", fences)]
