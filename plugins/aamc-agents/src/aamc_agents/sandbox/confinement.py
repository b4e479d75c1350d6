"""The child process of the sandbox: confines itself, then runs programs. It imports only Python's standard library.

It runs as a script. Its only argument has the limits as JSON; its standard input has a JSON list of programs, which run
one after the other in one module. Three fences confine them:

1. *Resource limits* of the process: CPU seconds, memory, size and number of files.
2. *The kernel* (Linux): Landlock allows it to open only the folder and, for reading, Python's own library. A seccomp
   filter, which the parent compiles, allows the system calls of computing and files: no socket, process, thread or signal.
3. *An audit hook* of the interpreter refuses the same with a message. Without the kernel's fences it is the only one for
   files, sockets and processes, and a program can circumvent it on purpose.
"""

from __future__ import annotations

import ast
import base64
import ctypes
import json
import os
import resource
import signal
import struct
import sys
import sysconfig
from types import ModuleType
from typing import Any

LIBRARIES = ("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib", "/dev/null", "/dev/urandom")
"""Readable paths besides Python's standard library: the shared objects that its modules are linked with."""
FORBIDDEN = ("socket.", "subprocess.", "os.fork", "os.exec", "os.spawn", "os.posix_spawn", "os.system", "os.kill", "pty.", "ctypes.")
"""Prefixes of audit events that are refused with any arguments."""
READING = ("open", "os.listdir", "os.scandir")
"""Audit events that may concern Python's library; an ``open`` only for reading."""
PATHS = {"open": 1, "os.listdir": 1, "os.scandir": 1, "os.chdir": 1, "os.remove": 1, "os.mkdir": 1, "os.rmdir": 1, "os.truncate": 1, "os.chmod": 1}
PATHS |= {"os.rename": 2, "os.link": 2, "os.symlink": 2}
"""Audit events about files, and the number of their leading arguments that are paths."""
_LANDLOCK_CREATE, _LANDLOCK_ADD, _LANDLOCK_RESTRICT = 444, 445, 446
_READ, _WRITE_AND_MAKE = 1 << 2 | 1 << 3, 1 << 1 | 1 << 4 | 1 << 5 | 1 << 7 | 1 << 8 | 1 << 13 | 1 << 14
"""Landlock's rights: to read files and folders; to write, remove, create, move and truncate them."""
_RIGHTS_OF_ABI = {1: 13, 2: 14, 3: 15, 4: 15, 5: 16}
"""Number of file rights in each Landlock version; later versions add none."""
_SCOPES_ABI, _SCOPES = 6, 1 | 1 << 1
"""First Landlock version that keeps signals and connections to abstract sockets within the process, and its bits for both."""
_FOR_FILES = 1 | 1 << 1 | 1 << 2 | 1 << 14
_PR_SET_PDEATHSIG, _PR_SET_NO_NEW_PRIVS, _PR_SET_SECCOMP, _SECCOMP_MODE_FILTER = 1, 38, 22, 2


def limit(seconds: float, memory_mb: int, file_mb: int) -> None:
    """Set the process's own limits; the parent enforces wall-clock time."""
    whole = int(seconds) + 1
    for name, most in (
        (resource.RLIMIT_CPU, whole),
        (resource.RLIMIT_AS, memory_mb << 20),
        (resource.RLIMIT_FSIZE, file_mb << 20),
        (resource.RLIMIT_NOFILE, 64),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(name, (most, most))


def readable() -> list[str]:
    """Return the real paths of the readable folders and files."""
    paths = sysconfig.get_paths()
    own = (paths["stdlib"], paths["platstdlib"], os.path.join(sys.base_prefix, "lib"))  # noqa: PTH118  # pathlib is not imported: it is slow
    return sorted({os.path.realpath(path) for path in (*own, *LIBRARIES) if os.path.exists(path)})  # noqa: PTH110  # likewise


def restrict_files(libc: Any, folder: str) -> bool:
    """Confine the process to a folder by Landlock; return whether the kernel supports it."""
    abi = libc.syscall(_LANDLOCK_CREATE, None, ctypes.c_size_t(0), 1)
    if abi < 1:
        return False
    known = (1 << _RIGHTS_OF_ABI.get(abi, 16)) - 1
    handled = struct.pack("=QQQ", known, 0, _SCOPES if abi >= _SCOPES_ABI else 0)
    rules = libc.syscall(_LANDLOCK_CREATE, handled, ctypes.c_size_t(len(handled)), 0)
    if rules < 0:
        return False
    for path, rights in (*((path, _READ) for path in readable()), (folder, _READ | _WRITE_AND_MAKE)):
        opened = os.open(path, os.O_PATH | os.O_CLOEXEC)
        allowed = rights & known if os.path.isdir(path) else rights & known & _FOR_FILES  # noqa: PTH112  # likewise
        rule = ctypes.create_string_buffer(struct.pack("=Qi", allowed, opened))
        libc.syscall(_LANDLOCK_ADD, rules, 1, rule, 0)
        os.close(opened)
    return bool(libc.syscall(_LANDLOCK_RESTRICT, rules, 0) == 0)


def filter_system_calls(libc: Any, program: bytes) -> bool:
    """Install a seccomp filter, a compiled BPF program; return whether the kernel accepted it."""
    code = ctypes.create_string_buffer(program, len(program))
    header = ctypes.create_string_buffer(struct.pack("@HP", len(program) // 8, ctypes.addressof(code)))
    return bool(program) and bool(libc.prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, header, 0, 0) == 0)


def confine(folder: str, seccomp: bytes) -> list[str]:
    """Set up the kernel's fences, then the interpreter's; return their names. Only the folder may be written."""
    fences = ["limits"]
    if sys.platform == "linux":
        libc = ctypes.CDLL(None)
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)  # a killed parent no longer enforces the time limit
        libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        fences += ["landlock"] * restrict_files(libc, folder) + ["seccomp"] * filter_system_calls(libc, seccomp)
    own = os.path.realpath(folder)
    roots = (*readable(), own)

    def below(path: Any, folders: tuple[str, ...]) -> bool:
        real = os.path.realpath(os.fsdecode(path))
        return any(real == root or real.startswith(root.rstrip("/") + "/") for root in folders)

    def refuse(event: str, arguments: tuple[Any, ...]) -> None:
        if event.startswith(FORBIDDEN):
            raise PermissionError(f"{event} is not allowed here")
        reads = event in READING and not (event == "open" and _writes(arguments))
        for path in arguments[: PATHS.get(event, 0)]:
            if isinstance(path, str | bytes) and not below(path, roots if reads else (own,)):
                raise PermissionError(f"{event} of {path!r} is not allowed: only the working folder is open")

    sys.addaudithook(refuse)
    return [*fences, "audit"]


def _writes(arguments: tuple[Any, ...]) -> bool:
    """Return whether an ``open`` event writes, by its mode, or by its flags if it has no mode."""
    _, mode, flags = arguments
    return bool(set("wax+") & set(mode)) if isinstance(mode, str) else bool(flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC))


def run(program: str, names: dict[str, Any]) -> None:
    """Run a program; if its last statement is an expression, print the value, as a notebook does."""
    tree = ast.parse(program, "<program>")
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, "<program>", "exec"), names)  # noqa: S102  # the purpose of this process
    if isinstance(last, ast.Expr):
        value = eval(compile(ast.Expression(last.value), "<program>", "eval"), names)  # noqa: S307  # likewise
        if value is not None:
            print(value)  # noqa: T201  # the program's result


def main() -> None:
    """Read limits and programs, confine the process, and run the programs."""
    options = json.loads(sys.argv[1])
    programs = json.loads(sys.stdin.buffer.read())
    del sys.path[0], sys.argv[1:]
    limit(options["seconds"], options["memory_mb"], options["file_mb"])
    fences = confine(options["folder"], base64.b64decode(options["seccomp"]))
    print(*fences, file=sys.stderr, flush=True)  # noqa: T201  # the parent reads the first line
    if programs and options["refusal"] and not {"landlock", "seccomp"} <= set(fences):
        sys.exit(options["refusal"])
    module = ModuleType(options["module"])
    sys.modules["__main__"] = sys.modules[module.__name__] = module  # pickle, unittest, doctest and typing look there
    for program in programs:
        run(program, vars(module))


if __name__ == "__main__":
    main()
