import ast
import asyncio
import ctypes
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import attrs
import pytest
from aamc_agents.sandbox import Ran, SandboxLimits, code_in, confinement, machine_fences, run_python, run_tests
from aamc_agents.sandbox.runner import remove
from aamc_agents.sandbox.system_calls import ALLOWED, compiled_filter
from aamc_agents.state import TaskState
from aamc_agents.tasks import Task
from aamc_agents.tool import AgentError

from aamc_sdk.errors import ConfigError, DataError

SHORT = SandboxLimits(seconds=30.0, memory_mb=128, file_mb=1, printed_bytes=5_000)


def run(*programs: str, limits: SandboxLimits = SHORT, **files: str) -> Ran:
    return asyncio.run(run_python(programs, limits, {f"{name}.txt": content for name, content in files.items()}))


def need_the_kernel(confines: bool) -> None:
    """Skip a test where the kernel does not confine programs; fail where the services are required."""
    if not confines:
        assert not os.environ.get("AAMC_REQUIRE_SERVICES"), "no Landlock or no seccomp: use Linux 5.13 or later and install apt-packages.txt"
        pytest.skip("this kernel has no Landlock or no seccomp, or libseccomp is missing")


def test_programs_share_names_and_the_last_value_is_printed() -> None:
    assert run("import math\nx = math.sqrt(49)", "print('so')\nx * 6").printed == "so\n42.0\n"


@pytest.mark.parametrize(
    ("program", "printed"),
    [
        ("import pickle\nprint(type(pickle.loads(pickle.dumps(A()))).__name__)", "A\n"),
        ("from typing import get_type_hints\nprint(get_type_hints(A)['x'].__name__)", "A\n"),
        ("import unittest\nunittest.main(exit=False, verbosity=0)\nprint(ran)", "['test']\n"),
        ("import timeit\nprint(timeit.timeit('A()', setup='from __main__ import A', number=1) > 0)", "True\n"),
        ("import __main__\nprint(hasattr(__main__, 'confine'))", "False\n"),
    ],
)
def test_the_main_module_is_the_programs_own(program: str, printed: str) -> None:
    start = "import unittest\nran = []\nclass A(unittest.TestCase):\n    x: 'A'\n    def test(self): ran.append('test')\n    def runTest(self): pass"
    assert run(f"{start}\n{program}") == Ran(printed=printed, error=None, fences=machine_fences().fences)


def test_a_file_does_not_name_the_module() -> None:
    assert run("print(__name__)", data="1").printed == "__main__\n"


def test_the_same_program_prints_the_same() -> None:
    program = "print(list({'a', 'b', 'c', 'd', 'e'}))"
    assert run(program).printed == run(program).printed


@pytest.mark.parametrize(
    ("program", "error"),
    [
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("import sys; sys.exit(3)", "it ended with code 3"),
        ("def f(): f()\nf()", "RecursionError"),
        ("bytearray(10 * 2**30)", "MemoryError"),
        ("while True: print('x' * 100)", "it printed more than 5000 bytes"),
        ("import sys\nwhile True: print('a warning', file=sys.stderr)", "it printed more than 5000 bytes"),
        ("with open('big', 'wb') as file: file.write(bytes(2**22))", "File too large"),
        ("import os\nfor _ in range(10**6): os.fork()", "os.fork is not allowed"),
        ("import threading\nfor _ in range(10**6): threading.Thread(target=input).start()", "can't start new thread"),
        ("import subprocess; subprocess.run(['true'])", "subprocess.Popen is not allowed"),
        ("import os; os.system('true')", "os.system is not allowed"),
        ("import os; os.kill(os.getppid(), 15)", "os.kill is not allowed"),
        ("import socket; socket.socket()", "socket.__new__ is not allowed"),
        ("import urllib.request; urllib.request.urlopen('http://127.0.0.1')", "not allowed"),
        ("import ctypes; ctypes.CDLL(None)", "ctypes.dlopen is not allowed"),
        ("open('/etc/passwd')", "open of '/etc/passwd' is not allowed"),
        ("open('../../etc/passwd')", "is not allowed: only the working folder is open"),
        ("import os; os.listdir('/')", "os.listdir of '/' is not allowed"),
        ("import os; os.symlink('/etc/passwd', 'here')", "os.symlink of '/etc/passwd' is not allowed"),
        ("import os; open(os.__file__, 'a')", "is not allowed: only the working folder is open"),
    ],
)
def test_what_a_program_must_not_do_fails_in_words(program: str, error: str) -> None:
    if "Thread" in program:  # seccomp refuses threads
        need_the_kernel(fences_of_the_kernel())
    ran = run(program)
    assert error in (ran.error or "")


@pytest.mark.parametrize("program", ["print('on')\nwhile True: pass", "import os, time\nos.close(1)\nos.close(2)\ntime.sleep(60)"])
def test_an_endless_program_is_stopped_in_time(program: str) -> None:
    began = time.monotonic()
    ran = run(program, limits=SandboxLimits(seconds=0.5))
    assert (ran.error, ran.late) == ("it took longer than 0.5 s", True)
    assert time.monotonic() - began < 30


def test_a_program_may_write_and_read_in_its_own_empty_folder() -> None:
    copies = "with open('b.txt', 'w') as file: file.write(open('a.txt').read() * 2)"
    ran = run("import os; print(os.listdir())", copies, "print(open('b.txt').read())", a="hm")
    assert ran.printed == "['a.txt']\nhmhm\n"
    assert ran.error is None


def test_the_folder_is_gone_afterwards_and_nothing_of_ours_is_seen() -> None:
    folder, path, names = run("import os, sys", "print(os.getcwd())", "print(sys.path)", "print(sorted(os.environ))").printed.splitlines()
    assert not Path(folder).exists()
    assert "aamc" not in path
    assert set(ast.literal_eval(names)) <= {"LC_CTYPE", "PYTHONHASHSEED", "PYTHONIOENCODING"}


@pytest.mark.parametrize(
    "program",
    [
        "for number in range(10**4): open(str(number), 'wb').write(bytes(2**20))",
        "for number in range(10**6): open(str(number), 'wb').close()",
        "import os\nfor _ in range(5000): os.mkdir('deeper'); os.chdir('deeper')",
    ],
)
def test_a_program_that_fills_the_disk_is_stopped_and_nothing_of_it_stays(program: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    ran = run(program, limits=attrs.evolve(SHORT, disk_mb=4))
    assert "it wrote more than 4 MB" in (ran.error or "")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("mode", [0o300, 0o400])
def test_a_folder_that_cannot_be_read_counts_as_full(tmp_path: Path, mode: int) -> None:
    (tmp_path / "closed").mkdir()
    (tmp_path / "closed" / "file").touch()
    (tmp_path / "closed").chmod(mode)
    program = f"from aamc_agents.sandbox.runner import is_full; from pathlib import Path; print(is_full(Path({str(tmp_path)!r}), 1))"
    capped = [] if os.geteuid() else ["setpriv", "--inh-caps=-all", "--bounding-set=-all"]  # root with all capabilities reads any folder
    assert subprocess.run([*capped, sys.executable, "-c", program], check=True, capture_output=True, timeout=120).stdout == b"True\n"


def test_whatever_a_program_made_of_its_folder_is_removed(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    (folder / "moved-0" / "closed" / "inner").mkdir(parents=True)
    (folder / "moved-0" / "file").touch()
    (folder / "moved-0" / "link").symlink_to(tmp_path)
    (folder / "moved-0" / "closed").chmod(0)
    remove(folder)
    assert list(tmp_path.iterdir()) == []


def test_cancelling_ends_the_process() -> None:
    async def cancelled() -> float:
        job = asyncio.create_task(run_python(["import time; time.sleep(60)"], SandboxLimits(seconds=60)))
        await asyncio.sleep(0.3)
        began = time.monotonic()
        job.cancel()
        await asyncio.gather(job, return_exceptions=True)
        return time.monotonic() - began

    assert asyncio.run(cancelled()) < 30


STARTING = """
import asyncio
from aamc_agents.sandbox import SandboxLimits, run_python
program = "import time\\nwhile True: time.sleep(60)"
asyncio.run(run_python([program], SandboxLimits(seconds=600.0, unconfined=True)))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux signals the death of a parent")
def test_a_program_ends_with_the_process_that_runs_it(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", STARTING], env={**os.environ, "TMPDIR": str(tmp_path)}) as parent:
        try:
            wait_until(lambda: programs_of(parent.pid) != [])
            (child,) = programs_of(parent.pid)
            wait_until(lambda: "NoNewPrivs:\t1" in (child / "status").read_text())
        finally:
            parent.kill()
    wait_until(lambda: not child.exists() or "State:\tZ" in (child / "status").read_text())


def programs_of(parent: int) -> list[Path]:
    """Return the folders under ``/proc`` of a process's sandboxed programs."""
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    return [Path("/proc", child) for child in children if b"confinement.py" in Path("/proc", child, "cmdline").read_bytes()]


def wait_until(happened: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize(
    ("program", "fault"),
    [
        ("def f(x): return x * x\nif __name__ == '__main__': print(f(int(input())))", ""),
        ("from __future__ import annotations\nfrom dataclasses import dataclass\n@dataclass\nclass A:\n    x: int\ndef f(x): return A(x).x ** 2", ""),
        ("import atexit\natexit.register(print, 'bye')\ndef print(x): pass\ndef f(x): return x * x", ""),
        ("import sys\nprint('hello', end='')\nsys.stdout = None\ndef f(x): return x * x", ""),
        ("import __main__\n__main__.run = lambda program, names: exec(program, names) if 'print' in program else None\nf = abs", "AssertionError"),
    ],
)
def test_tests_run_on_a_program_as_if_it_were_imported(program: str, fault: str) -> None:
    assert asyncio.run(run_tests(program, "assert __name__ == '__main__'\nassert f(3) == 9", SHORT)) == fault


def test_a_file_with_a_path_for_a_name_is_refused() -> None:
    for name in ("../up.txt", "a/b.txt", "..", ""):
        with pytest.raises(DataError, match="plain name"):
            asyncio.run(run_python(["1"], SHORT, {name: ""}))


def fences_of_the_kernel() -> bool:
    return machine_fences().fenced_by_kernel


@pytest.fixture
def without_seccomp(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr("aamc_agents.sandbox.runner.compiled_filter", lambda: None)
    machine_fences.cache_clear()
    yield
    machine_fences.cache_clear()


@pytest.mark.usefixtures("without_seccomp")
def test_where_the_kernel_confines_nothing_the_agent_refuses_unless_told_otherwise(make_agent) -> None:
    strict, trusting = make_agent("python"), make_agent("python", unconfined=True)
    with pytest.raises(ConfigError, match=r"the kernel here does not confine programs.*; set its option unconfined=true"):
        strict.check()
    with pytest.raises(AgentError, match="the kernel here does not confine programs"):
        asyncio.run(strict.execute(TaskState(task=Task(id="t", text="print(1)"))))
    trusting.check()
    assert asyncio.run(trusting.execute(TaskState(task=Task(id="t", text="print(1)")))).content == "1"


UNHOOKED = """
import ctypes, os, sys
sys.path.insert(0, {home!r})
import confinement
libc = ctypes.CDLL(None)
libc.prctl(38, 1, 0, 0, 0)
assert confinement.restrict_files(libc, {folder!r}) and confinement.filter_system_calls(libc, {seccomp!r})
FOLDER, SYS_FCNTL = {folder!r}, {{"x86_64": 72, "aarch64": 25}}.get(os.uname().machine, -1)
open(os.path.join(FOLDER, "mine"), "w").close()
{attempt}
"""


@pytest.mark.parametrize(
    "attempt",
    [
        "open('/etc/passwd')",
        "open('/tmp/not-mine', 'w')",
        "os.listdir('/')",
        "import socket; socket.socket()",
        "os.fork()",
        "os.kill(os.getpid(), 9)",
        "os.execv('/bin/true', ['true'])",
        "raise PermissionError if libc.socket(2, 1, 0) < 0 else SystemExit(0)",
        "import fcntl; fcntl.fcntl(1, fcntl.F_SETOWN, os.getppid())",
        "import fcntl; fcntl.fcntl(1, 15, bytes(8))  # F_SETOWN_EX",
        "import fcntl; fcntl.fcntl(1, fcntl.F_SETSIG, 9)",
        "import fcntl; fcntl.fcntl(1, fcntl.F_SETFL, fcntl.fcntl(1, fcntl.F_GETFL) | os.O_ASYNC)",
        "import fcntl; fcntl.fcntl(os.open(FOLDER, os.O_RDONLY), fcntl.F_NOTIFY, fcntl.DN_CREATE)",
        "import fcntl; fcntl.fcntl(os.open(FOLDER + '/mine', os.O_RDONLY), fcntl.F_SETLEASE, fcntl.F_RDLCK)",
        "import fcntl, termios; fcntl.ioctl(1, termios.FIOASYNC, bytes(4))",
        "import fcntl; fcntl.ioctl(1, 0x8901, bytes(4))  # FIOSETOWN",
        "import fcntl; fcntl.ioctl(1, 0x8902, bytes(4))  # SIOCSPGRP",
        "raise PermissionError if libc.syscall(SYS_FCNTL, 1, ctypes.c_long(8 | 1 << 32), os.getppid()) < 0 else SystemExit(0)",
        "import resource; resource.prlimit(os.getppid(), resource.RLIMIT_CPU)",
        "os.setpriority(os.PRIO_PROCESS, os.getppid(), 19)",
        "os.sched_setaffinity(os.getppid(), [0])",
        "os.pidfd_open(os.getppid())",
        "raise PermissionError if libc.prctl(1, 9, 0, 0, 0) < 0 else SystemExit(0)  # PR_SET_PDEATHSIG",
    ],
)
def test_the_kernel_refuses_on_its_own_what_the_interpreter_would(tmp_path: Path, attempt: str) -> None:
    need_the_kernel(fences_of_the_kernel())
    program = UNHOOKED.format(home=str(Path(confinement.__file__).parent), folder=str(tmp_path), seccomp=compiled_filter(), attempt=attempt)
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=120)
    assert ended.returncode == 1
    assert "PermissionError" in ended.stderr.splitlines()[-1]


@pytest.mark.parametrize("attempt", ["os.truncate(FOLDER + '/../victim', 0)", "os.open(FOLDER + '/mine', os.O_RDONLY | os.O_TRUNC)"])
def test_nothing_is_truncated_where_landlock_does_not_cover_it(tmp_path: Path, attempt: str) -> None:
    """As before Linux 6.2, whose Landlock has 14 rights for files."""
    need_the_kernel(fences_of_the_kernel())
    folder, victim = tmp_path / "own", tmp_path / "victim"
    folder.mkdir()
    victim.write_text("precious")
    home, start = str(Path(confinement.__file__).parent), "import confinement\n"
    program = UNHOOKED.format(home=home, folder=str(folder), seccomp=compiled_filter(), attempt=attempt)
    program = program.replace(start, f"{start}confinement._RIGHTS_OF_ABI = dict.fromkeys(range(1, 100), 14)\n")
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=120)
    assert "PermissionError" in ended.stderr.splitlines()[-1]
    assert victim.read_text() == "precious"


SIGNALLING = """
import asyncio
from aamc_agents.sandbox import SandboxLimits, run_python
program = "import fcntl, os\\nfcntl.fcntl(1, fcntl.F_SETOWN, os.getppid())\\nfcntl.fcntl(1, fcntl.F_SETSIG, 9)\\n"
program += "fcntl.fcntl(1, fcntl.F_SETFL, fcntl.fcntl(1, fcntl.F_GETFL) | os.O_ASYNC)\\nfor _ in range(100): os.write(1, bytes(60000))"
print(asyncio.run(run_python([program], SandboxLimits(seconds=60.0))).error)
"""


def test_a_program_cannot_kill_the_process_that_runs_it() -> None:
    need_the_kernel(fences_of_the_kernel())
    ended = subprocess.run([sys.executable, "-c", SIGNALLING], capture_output=True, text=True, check=False, timeout=120)
    assert (ended.returncode, ended.stdout.strip()) == (0, "PermissionError: [Errno 1] Operation not permitted")


def test_landlock_keeps_signals_in_where_the_kernel_can(tmp_path: Path) -> None:
    need_the_kernel(fences_of_the_kernel())
    libc = ctypes.CDLL(None)
    if libc.syscall(444, None, ctypes.c_size_t(0), 1) < 6:
        pytest.skip("Landlock of this kernel has no scopes")
    start = f"import ctypes, os, sys; sys.path.insert(0, {str(Path(confinement.__file__).parent)!r}); import confinement; libc = ctypes.CDLL(None)"
    confine = f"libc.prctl(38, 1, 0, 0, 0); assert confinement.restrict_files(libc, {str(tmp_path)!r}); os.kill(os.getpid(), 0)"
    ended = subprocess.run(
        [sys.executable, "-c", f"{start}; {confine}; os.kill(os.getppid(), 0)"], capture_output=True, text=True, check=False, timeout=120
    )
    assert "PermissionError" in ended.stderr.splitlines()[-1]


def test_a_program_may_use_what_pythons_files_need_of_fcntl_and_ioctl() -> None:
    program = """
import fcntl, os
file = open("here", "w")
fcntl.lockf(file, fcntl.LOCK_EX)
os.set_inheritable(file.fileno(), True)
os.set_blocking(file.fileno(), True)
fcntl.fcntl(file, fcntl.F_DUPFD_CLOEXEC, 0)
file.truncate(5)
open("here", "r+").truncate(2)
print(os.isatty(0), fcntl.fcntl(file, fcntl.F_GETFL) & os.O_WRONLY, os.listdir())
"""
    assert run(program).printed == "False 1 ['here']\n"


def test_a_program_may_keep_a_database_and_copy_files() -> None:
    database = """
import pathlib, shelve, shutil, sqlite3
with shelve.open("shelf") as shelf:
    shelf["x"] = 1
with sqlite3.connect("here.db") as made:
    made.execute("CREATE TABLE t (x)")
    made.execute("INSERT INTO t VALUES (7)")
made.close()
shutil.copy("here.db", "copy.db")
shutil.copy2("here.db", "again.db")
pathlib.Path("touched").touch()
"""
    ran = run(database, "print(sqlite3.connect('copy.db').execute('SELECT x FROM t').fetchall(), pathlib.Path('touched').exists())")
    assert (ran.printed, ran.error) == ("[(7,)] True\n", None)


def test_modes_and_times_of_files_elsewhere_stay(tmp_path: Path) -> None:
    need_the_kernel(fences_of_the_kernel())
    elsewhere = tmp_path / "elsewhere"
    elsewhere.touch()
    before, folder = elsewhere.stat(), tmp_path / "folder"
    folder.mkdir()
    attempt = f"os.chmod({str(elsewhere)!r}, 0); os.utime({str(elsewhere)!r}, (1, 1))"
    program = UNHOOKED.format(home=str(Path(confinement.__file__).parent), folder=str(folder), seccomp=compiled_filter(), attempt=attempt)
    subprocess.run([sys.executable, "-c", program], check=True, timeout=120)
    assert (before.st_mode, before.st_mtime) == (elsewhere.stat().st_mode, elsewhere.stat().st_mtime)


@pytest.mark.parametrize(
    ("text", "code"),
    [("x = 1", "x = 1"), ("Here:\n```python\nx = 1\n```\nDone.", "x = 1\n"), ("```\ny\n```\n```\nz\n```", "y\n")],
)
def test_a_program_is_found_between_fences(text: str, code: str) -> None:
    assert code_in(text) == code


def test_a_program_that_is_too_long_is_refused_before_it_is_parsed(say) -> None:
    with pytest.raises(AgentError, match="a program of 400,000 characters is refused: at most 100,000 are read"):
        say("python", "?", "a=1\n" * 100_000)


def test_no_text_keeps_the_search_for_a_program_at_work_for_long() -> None:
    text, began = "`" * 50_000, time.process_time()
    assert code_in(text) == text
    assert time.process_time() - began < 0.5


def test_the_agent_gives_what_is_printed_and_sees_the_tasks_files(say) -> None:
    task = Task(id="t", text="?", files={"n.csv": "1,2,3"})
    assert say("python", task, "print(sum(map(int, open('n.csv').read().split(','))))") == "6"


@pytest.mark.parametrize(
    ("program", "error"),
    [
        ("Mia has 3 pears", "is not a Python program"),
        ("x = 1", "printed nothing"),
        ("1 / 0", "failed: ZeroDivisionError"),
        ("\0", "not a Python program"),
    ],
)
def test_the_agent_says_why_there_is_no_result(say, program: str, error: str) -> None:
    with pytest.raises(AgentError, match=error):
        say("python", "?", program)


def test_a_program_is_not_run_again_and_no_more_run_side_by_side_than_there_are_processors(make_agent, monkeypatch: pytest.MonkeyPatch) -> None:
    python = make_agent("python")
    at_work, most, programs = 0, 0, list[str]()

    async def run(sources: Sequence[str], limits: SandboxLimits, files: Mapping[str, str]) -> Ran:
        nonlocal at_work, most
        at_work += 1
        most = max(most, at_work)
        programs.extend(sources)
        await asyncio.sleep(0.01)
        at_work -= 1
        return Ran(printed="1", error=None)

    monkeypatch.setattr("aamc_agents.python.run_python", run)
    monkeypatch.setattr("os.cpu_count", lambda: 2)

    async def ask() -> None:
        await asyncio.gather(*(python.execute(TaskState(task=Task(id="t", text=f"print({number % 5})"))) for number in range(20)))

    asyncio.run(ask())
    assert most == 2
    assert set(programs) == {f"print({number})" for number in range(5)}
    before = len(programs)
    asyncio.run(ask())
    assert len(programs) == before < 20


def test_a_program_that_was_late_is_run_again(make_agent, monkeypatch: pytest.MonkeyPatch) -> None:
    results = [Ran(printed="", error="it took longer than 5 s", late=True), Ran(printed="1", error=None)]

    async def run(sources: Sequence[str], limits: SandboxLimits, files: Mapping[str, str]) -> Ran:
        return results.pop(0)

    monkeypatch.setattr("aamc_agents.python.run_python", run)
    python, state = make_agent("python"), TaskState(task=Task(id="t", text="print(1)"))
    with pytest.raises(TimeoutError, match="the program failed: it took longer than 5 s") as raised:
        asyncio.run(python.execute(state))
    assert isinstance(raised.value, AgentError)
    assert raised.value.cost == pytest.approx(0.005)
    assert asyncio.run(python.execute(state)).content == "1"


def test_where_the_kernel_fences_nothing_that_is_said_once(make_agent, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    async def run(sources: Sequence[str], limits: SandboxLimits, files: Mapping[str, str]) -> Ran:
        late = sources == ["print(0)"]
        return Ran(printed="1", error="it took longer than 5 s" if late else None, fences=() if late else ("limits", "audit"))

    monkeypatch.setattr("aamc_agents.python.run_python", run)
    python = make_agent("python", unconfined=True)
    with pytest.raises(AgentError, match="took longer"):
        asyncio.run(python.execute(TaskState(task=Task(id="t", text="print(0)"))))
    for number in range(1, 4):
        asyncio.run(python.execute(TaskState(task=Task(id="t", text=f"print({number})"))))
    assert [record.message for record in caplog.records if "interpreter alone" in record.message] == [caplog.messages[0]]


def test_without_libseccomp_the_other_fences_stand(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aamc_agents.sandbox.runner.compiled_filter", lambda: None)
    refused = run("print(1)")
    assert refused.printed == ""
    assert "the kernel here does not confine programs, so none is run" in (refused.error or "")
    ran = run("import socket; socket.socket()", limits=attrs.evolve(SHORT, unconfined=True))
    assert "seccomp" not in ran.fences
    assert not ran.fenced_by_kernel
    assert "socket.__new__ is not allowed" in (ran.error or "")


def test_the_filter_is_compiled_from_names_of_system_calls() -> None:
    program = compiled_filter()
    need_the_kernel(program is not None)
    assert program is not None
    assert len(program) % 8 == 0
    assert len(program) // 8 > len(ALLOWED) / 2
    assert not {"socket", "fork", "clone", "clone3", "execve", "kill", "tkill", "tgkill", "ptrace", "prctl"} & {*ALLOWED}
    assert not {"rt_sigqueueinfo", "rt_tgsigqueueinfo", "pidfd_open", "pidfd_send_signal", "timer_create", "setitimer", "mq_notify"} & {*ALLOWED}
    assert not {"io_uring_setup", "io_uring_enter", "process_vm_writev", "prlimit64", "setrlimit", "setpriority", "sched_setaffinity"} & {*ALLOWED}
