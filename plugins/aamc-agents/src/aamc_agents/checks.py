"""The check of the sandbox for ``aamc doctor``."""

from __future__ import annotations

import asyncio

from aamc_agents.sandbox import SandboxLimits, run_python
from aamc_sdk.interfaces import Diagnosis


def check_sandbox() -> list[Diagnosis]:
    """Check that programs of the agent ``python`` run, and which fences confine them."""
    ran = asyncio.run(run_python(["print(6 * 7)"], SandboxLimits(unconfined=True)))
    fences = f"programs are confined by: {', '.join(ran.fences) or 'nothing'}"
    if ran.error is not None or ran.printed.strip() != "42":
        return [Diagnosis("sandbox", f"a program failed: {ran.error or ran.printed!r}", "broken", "leave the agent python out (--agents)")]
    if not ran.fenced_by_kernel:
        advice = "use Linux 5.13 or later with Landlock and libseccomp, or set the agent's option unconfined for programs that you trust"
        return [Diagnosis("sandbox", f"{fences}; the kernel does not help, so the agent python refuses programs", "warning", advice)]
    return [Diagnosis("sandbox", fences)]
