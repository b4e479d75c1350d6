"""The system calls that a sandboxed program may make, as a seccomp filter compiled by libseccomp."""

from __future__ import annotations

import errno
import os
import tempfile
from contextlib import suppress
from functools import cache

ALLOWED = (
    *("read", "write", "close", "stat", "fstat", "lstat", "poll", "lseek", "access"),
    *("pread64", "pwrite64", "readv", "writev", "fsync", "fdatasync", "ftruncate", "dup", "dup2", "dup3"),
    *("mmap", "mprotect", "munmap", "brk", "mremap", "madvise"),
    *("rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "sigaltstack"),
    *("select", "pselect6", "ppoll", "sched_yield", "nanosleep", "clock_nanosleep", "time", "gettimeofday", "clock_gettime", "clock_getres"),
    *("getpid", "getppid", "gettid", "getuid", "getgid", "geteuid", "getegid", "getrlimit", "getrusage", "uname", "sysinfo", "times", "umask"),
    *("getdents", "getdents64", "getcwd", "chdir", "rename", "renameat", "renameat2", "mkdir", "mkdirat", "rmdir"),
    *("unlink", "unlinkat", "readlink", "readlinkat", "newfstatat", "faccessat", "faccessat2", "statx"),
    *("exit", "exit_group", "arch_prctl", "futex", "set_robust_list", "getrandom", "rseq", "close_range"),
)
"""Names of the allowed system calls: those of computing and of files. A name that the machine does not have is skipped."""
ALLOWED_COMMANDS = {
    "fcntl": ("F_DUPFD", "F_DUPFD_CLOEXEC", "F_GETFD", "F_SETFD", "F_GETFL", "F_GETLK", "F_SETLK", "F_SETLKW"),
    "ioctl": ("TCGETS", "TIOCGWINSZ", "FIOCLEX", "FIONCLEX", "FIONBIO"),
}
"""Allowed second arguments of system calls, by their names in the modules ``fcntl`` and ``termios``.

Others, such as ``F_SETOWN`` with ``O_ASYNC``, would have the kernel signal another process when the program prints.
"""
IGNORED = (
    *("chmod", "fchmod", "fchmodat", "fchmodat2", "chown", "fchown", "lchown", "fchownat", "listxattr", "llistxattr", "flistxattr"),
    "utimensat",
)
"""Names of system calls that return 0 and do nothing; ``utimensat`` only with times, since ``Path.touch`` makes the file after an error.

``shutil.copy`` and SQLite need their success and not their effect, which Landlock does not confine to the folder.
"""
FLAGS_AT = {"open": 1, "openat": 2}
"""System calls that open a file, with the index of their flags argument.

``O_TRUNC`` needs write access, because Landlock before Linux 6.2 does not stop a truncation by a read-only open.
``truncate`` is not allowed for the same reason; ``ftruncate`` needs a file that is open for writing.
"""
_32_BITS = 0xFFFF_FFFF


@cache
def compiled_filter() -> bytes | None:
    """Return the filter as a BPF program of this machine, in which every call without a rule fails with EPERM; None without libseccomp."""
    try:
        import fcntl
        import termios

        import pyseccomp  # type: ignore[import-untyped]  # it has no types
    except (ImportError, OSError, RuntimeError):  # not Linux, or no libseccomp
        return None
    allowed = pyseccomp.SyscallFilter(pyseccomp.ERRNO(errno.EPERM))
    has_times = pyseccomp.Arg(2, pyseccomp.NE, 0)
    for name in ALLOWED:
        with suppress(OSError):  # libseccomp does not know the name
            allowed.add_rule(pyseccomp.ALLOW, name)
    for name in IGNORED:
        with suppress(OSError):  # likewise
            allowed.add_rule(pyseccomp.ERRNO(0), name, *[has_times] * (name == "utimensat"))
    for name, module in (("fcntl", fcntl), ("ioctl", termios)):
        for command in ALLOWED_COMMANDS[name]:  # the kernel ignores the upper half of the argument
            allowed.add_rule(pyseccomp.ALLOW, name, pyseccomp.Arg(1, pyseccomp.MASKED_EQ, _32_BITS, getattr(module, command)))
    for name, place in FLAGS_AT.items():
        for mask, flags in ((os.O_TRUNC, 0), (os.O_ACCMODE, os.O_WRONLY), (os.O_ACCMODE, os.O_RDWR)):
            with suppress(OSError):
                allowed.add_rule(pyseccomp.ALLOW, name, pyseccomp.Arg(place, pyseccomp.MASKED_EQ, mask, flags))
    with tempfile.TemporaryFile() as file:
        allowed.export_bpf(file)
        file.seek(0)
        return file.read()
