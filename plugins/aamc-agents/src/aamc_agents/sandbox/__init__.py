"""Runs Python programs in a separate process with limits: time, memory, no network, no files outside one folder.

It protects from programs that never end, use up memory or processes, or read and write where they should not, by mistake
or on a careless model's advice. On Linux the kernel enforces all of it (:mod:`aamc_agents.sandbox.confinement`). Where it cannot,
programs are refused unless :attr:`SandboxLimits.unconfined` allows them: then only the interpreter keeps files and sockets closed, which
stops accidents, not attackers. :attr:`Ran.fences` names the fences of a run. It does not protect from kernel errors or from the
use of processor time and memory within the limits, and a program can read Python's library and the system's shared objects, and
learn names, sizes and times of other files. Run code of an attacker in a virtual machine.
"""

from aamc_agents.sandbox.runner import Ran, SandboxLimits, check_confined, code_in, machine_fences, run_python, run_tests

__all__ = ["Ran", "SandboxLimits", "check_confined", "code_in", "machine_fences", "run_python", "run_tests"]
