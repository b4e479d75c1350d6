"""The child process of :mod:`aamc_puppeteer.agents.sandbox`: shuts itself in, then runs programs. It imports nothing of ours.

Run as a script with the limits as JSON in its only argument; standard input holds a JSON list of programs, which are
run one after the other in one namespace. Three fences stand around them:

1. *Resource limits* of the process: CPU seconds, memory, size and number of files.
2. *The kernel* (Linux on x86-64): Landlock lets it open nothing but the folder and, for reading, Python's own library;
   a seccomp filter lets it call what computing and files need, so no socket, no process, no thread, no signal to others.
3. *An audit hook* of the interpreter refuses the same in words. It is the only fence for files, sockets and processes
   where the kernel has none, and a program that sets out to can get round it.
"""

from __future__ import annotations

import ast
import ctypes
import json
import os
import platform
import resource
import struct
import sys
import sysconfig
from typing import Any

LIBRARIES = ("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib", "/dev/null", "/dev/urandom")
"""What may be read beside Python's standard library: the shared objects that its modules are linked with."""
FORBIDDEN = ("socket.", "subprocess.", "os.fork", "os.exec", "os.spawn", "os.posix_spawn", "os.system", "os.kill", "pty.", "ctypes.")
"""The beginnings of audit events that are refused, whatever their arguments."""
READING = ("open", "os.listdir", "os.scandir")
"""Audit events that may be about Python's library; an ``open`` only where it does not write."""
PATHS = {"open": 1, "os.listdir": 1, "os.scandir": 1, "os.chdir": 1, "os.remove": 1, "os.mkdir": 1, "os.rmdir": 1, "os.truncate": 1, "os.chmod": 1}
PATHS |= {"os.rename": 2, "os.link": 2, "os.symlink": 2}
"""Audit events about files, and how many of their first arguments are paths."""
SYSTEM_CALLS = (
    *(0, 1, 2, 3, 4, 5, 6, 7, 8),  # read write open close stat fstat lstat poll lseek
    *(9, 10, 11, 12, 25, 28),  # mmap mprotect munmap brk mremap madvise
    *(13, 14, 15, 131, 16, 17, 18, 19, 20, 21),  # sigaction sigprocmask sigreturn sigaltstack ioctl pread pwrite readv writev access
    *(23, 24, 32, 33, 35, 39, 60, 63, 72, 74),  # select sched_yield dup dup2 nanosleep getpid exit uname fcntl fsync
    *(76, 77, 78, 79, 80, 82, 83, 84, 87, 89),  # truncate ftruncate getdents getcwd chdir rename mkdir rmdir unlink readlink
    *(96, 97, 98, 99, 100, 102, 104, 107, 108, 110),  # gettimeofday getrlimit getrusage sysinfo times getuid getgid geteuid getegid getppid
    *(158, 186, 201, 202, 217, 228, 229, 230, 231),  # arch_prctl gettid time futex getdents64 clock_gettime _getres _nanosleep exit_group
    *(257, 258, 262, 263, 264, 267, 269, 270, 271),  # openat mkdirat newfstatat unlinkat renameat readlinkat faccessat pselect6 ppoll
    *(273, 316, 318, 332, 334, 436, 439),  # set_robust_list renameat2 getrandom statx rseq close_range faccessat2
)
"""The x86-64 numbers of the system calls that are allowed; every other one fails as not permitted."""

_LANDLOCK_CREATE, _LANDLOCK_ADD, _LANDLOCK_RESTRICT = 444, 445, 446
_READ, _WRITE_AND_MAKE = 1 << 2 | 1 << 3, 1 << 1 | 1 << 4 | 1 << 5 | 1 << 7 | 1 << 8 | 1 << 13 | 1 << 14
"""Landlock's rights: to read files and folders; to write, remove and make files and folders, to move and to cut them off."""
_RIGHTS_OF_ABI = {1: 13, 2: 14, 3: 15, 4: 15, 5: 16}
"""How many rights each version of Landlock knows; later ones know no more about files."""
_FOR_FILES = 1 | 1 << 1 | 1 << 2 | 1 << 14
_PR_SET_NO_NEW_PRIVS, _PR_SET_SECCOMP, _SECCOMP_MODE_FILTER = 38, 22, 2
_ARCH_X86_64, _ALLOW, _REFUSE, _KILL = 0xC000003E, 0x7FFF0000, 0x00050001, 0x80000000


def limit(seconds: float, memory_mb: int, file_mb: int) -> None:
    """Set the process's own limits; the parent keeps wall-clock time."""
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
    """Return the folders and files that may be read, without links."""
    paths = sysconfig.get_paths()
    own = (paths["stdlib"], paths["platstdlib"], os.path.join(sys.base_prefix, "lib"))  # noqa: PTH118  # pathlib is not imported: it is slow
    return sorted({os.path.realpath(path) for path in (*own, *LIBRARIES) if os.path.exists(path)})  # noqa: PTH110  # likewise


def restrict_files(libc: Any, folder: str) -> bool:
    """Let Landlock confine the process to a folder; return whether the kernel could."""
    abi = libc.syscall(_LANDLOCK_CREATE, None, ctypes.c_size_t(0), 1)
    if abi < 1:
        return False
    known = (1 << _RIGHTS_OF_ABI.get(abi, 16)) - 1
    handled = ctypes.c_uint64(known)
    rules = libc.syscall(_LANDLOCK_CREATE, ctypes.byref(handled), ctypes.c_size_t(8), 0)
    if rules < 0:
        return False
    for path, rights in (*((path, _READ) for path in readable()), (folder, _READ | _WRITE_AND_MAKE)):
        opened = os.open(path, os.O_PATH | os.O_CLOEXEC)
        allowed = rights & known if os.path.isdir(path) else rights & known & _FOR_FILES  # noqa: PTH112  # likewise
        rule = ctypes.create_string_buffer(struct.pack("=Qi", allowed, opened))
        libc.syscall(_LANDLOCK_ADD, rules, 1, rule, 0)
        os.close(opened)
    return bool(libc.syscall(_LANDLOCK_RESTRICT, rules, 0) == 0)


def filter_system_calls(libc: Any) -> bool:
    """Let the kernel refuse every system call that is not listed; return whether it could."""

    def instruction(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
        return struct.pack("=HBBI", code, if_true, if_false, value)

    load, equal, leave = 0x20, 0x15, 0x06
    count = len(SYSTEM_CALLS)
    program = instruction(load, 4) + instruction(equal, _ARCH_X86_64, 1) + instruction(leave, _KILL) + instruction(load, 0)
    for position, number in enumerate(SYSTEM_CALLS):
        program += instruction(equal, number, count - position)
    program += instruction(leave, _REFUSE) + instruction(leave, _ALLOW)
    code = ctypes.create_string_buffer(program)
    header = ctypes.create_string_buffer(struct.pack("@HP", len(program) // 8, ctypes.addressof(code)))
    return bool(libc.prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, header, 0, 0) == 0)


def confine(folder: str) -> list[str]:
    """Put up the kernel's fences, then the interpreter's; return the names of those that stand."""
    fences = ["limits"]
    if sys.platform == "linux" and platform.machine() == "x86_64":
        libc = ctypes.CDLL(None)
        libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        fences += ["landlock"] * restrict_files(libc, folder) + ["seccomp"] * filter_system_calls(libc)
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
    """Return whether an ``open`` event is about writing: from its mode, or its flags where it has none."""
    _, mode, flags = arguments
    return bool(set("wax+") & set(mode)) if isinstance(mode, str) else bool(flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC))


def run(program: str, names: dict[str, Any]) -> None:
    """Run a program; where it ends in an expression, print its value, as a notebook does."""
    tree = ast.parse(program, "<program>")
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, "<program>", "exec"), names)  # noqa: S102  # what this process is for
    if isinstance(last, ast.Expr):
        value = eval(compile(ast.Expression(last.value), "<program>", "eval"), names)  # noqa: S307  # likewise
        if value is not None:
            print(value)  # noqa: T201  # the program's result


def main() -> None:
    """Read limits and programs, shut the door, and run."""
    options = json.loads(sys.argv[1])
    programs = json.loads(sys.stdin.buffer.read())
    del sys.path[0], sys.argv[1:]
    limit(options["seconds"], options["memory_mb"], options["file_mb"])
    print(*confine(options["folder"]), file=sys.stderr, flush=True)  # noqa: T201  # the parent reads the first line
    names: dict[str, Any] = {"__name__": "__main__"}
    for program in programs:
        run(program, names)


if __name__ == "__main__":
    main()
