"""Programs that break what they run in: after each, the session answers `1 + 1`.

They run one after another in one session, so what one has broken is broken for the next.
"""

import pytest
from driven import Driver

SURVIVES = "survives"
POISONED = "poisoned"
"""It answers, but other programs would not do what they say: it is killed afterwards."""
REPLACED = "replaced"

NOT_TRIED = {"NameError", "ImportError", "ModuleNotFoundError", "AttributeError", "SyntaxError"}
"""Errors of a program that did not get to what it is for."""

REFUSED = [
    "(" * 5000,
    "-" * 100_000 + "1",
    "1" + "+1" * 50_000,
    "[" * 199 + "]" * 199,
    "lambda: " * 3000 + "1",
    "x" + ".x" * 20_000,
    "if 1:\n" + "".join(" " * n + "if 1:\n" for n in range(1, 120)),
    "\0",
]
"""Texts that the parser or the compiler may refuse."""

PROGRAMS = [
    # The session's names and Python's own.
    ("del __builtins__", SURVIVES),
    ("__builtins__ = {}", POISONED),
    ("__builtins__ = None", POISONED),
    ("globals().clear()", POISONED),
    ("__name__ = 5; display = None; _ = None", SURVIVES),
    ("import sys; del sys.modules['__main__']", POISONED),
    (
        "import builtins\nfor n in ('len', 'isinstance', 'repr', 'str', 'type'): setattr(builtins, n, None)",
        POISONED,
    ),
    (
        "import builtins\nfor n in ('Exception', 'BaseException', 'list', 'dict'): setattr(builtins, n, 1)",
        POISONED,
    ),
    (
        "import builtins\nfor n in ('print', 'getattr', 'any', 'callable', 'open'): delattr(builtins, n)",
        POISONED,
    ),
    ("import builtins; builtins.__import__ = builtins.__build_class__ = None", POISONED),
    ("import json; json.dumps = json.loads = json.JSONEncoder = json.JSONDecoder = None", POISONED),
    ("import json; json.encoder.JSONEncoder.encode = json.encoder.encode_basestring = None", POISONED),
    ("import os; os.read = os.write = os.getpid = os.dup2 = os.fstat = os._exit = os.close = None", POISONED),
    ("import struct, socket; struct.pack = struct.Struct = socket.socket = None", POISONED),
    ("import signal, io, ast, linecache; signal.signal = io.TextIOWrapper = ast.Module = None", POISONED),
    ("import linecache; linecache.cache.clear()", SURVIVES),
    ("import traceback; traceback.extract_tb = traceback.format_exception_only = None; 1 / 0", POISONED),
    ("import sys; sys.path[:] = []; sys.meta_path.clear(); sys.path_hooks.clear()", POISONED),
    ("import sys; sys.exc_info = sys.settrace = sys.gettrace = sys.getrecursionlimit = None", POISONED),
    ("import threading; threading.excepthook = None; threading.main_thread = None", POISONED),
    # The streams.
    ("import sys; sys.stdout = sys.stderr = sys.stdin = None", SURVIVES),
    ("import sys; del sys.stdout, sys.stderr, sys.stdin", SURVIVES),
    ("import sys; sys.stdout = 5; sys.stderr = object()", SURVIVES),
    ("import sys, io; sys.stdout = sys.stderr = io.StringIO()", SURVIVES),
    (
        "import sys\nclass W:\n    closed = False\n    def write(self, t): 1 / 0\n"
        "    flush = write\nsys.stdout = sys.stderr = W()",
        SURVIVES,
    ),
    ("import sys; sys.__stdout__.close(); sys.__stderr__.close()", SURVIVES),
    ("import sys; sys.stdout = sys.__stdout__; sys.stdout.detach()", SURVIVES),
    ("import sys; sys.__stdout__.write = sys.__stdout__.flush = None", SURVIVES),
    ("import sys; sys.__stdout__.reconfigure(encoding='utf-16')", SURVIVES),
    ("import sys; sys.__stdout__ = sys.__stderr__ = None", SURVIVES),
    ("import codecs; codecs.register_error('backslashreplace', lambda e: 1 / 0); print('\\ud800')", SURVIVES),
    ("import sys; sys.displayhook = None", SURVIVES),
    ("import sys; del sys.displayhook", SURVIVES),
    ("import sys; sys.displayhook = lambda v: 1 / 0", SURVIVES),
    ("import sys; sys.excepthook = sys.unraisablehook = None; 1 / 0", SURVIVES),
    ("import posix; posix.close(0); posix.close(1); posix.close(2)", SURVIVES),
    ("import posix; posix.dup2(posix.open('/dev/null', 2), 1)", SURVIVES),
    ("import posix; posix.closerange(0, 3); print('lost')", SURVIVES),
    ("exit()", SURVIVES),
    ("quit()", SURVIVES),
    ("raise SystemExit", SURVIVES),
    *((code, SURVIVES) for code in REFUSED),
    # The stack and memory.
    ("def deep(): deep()\ndeep()", SURVIVES),
    (
        "import sys\nfor n in range(1, 500):\n    try: sys.setrecursionlimit(n); break\n"
        "    except RecursionError: pass",
        SURVIVES,
    ),
    ("class D:\n    def __repr__(self): return repr(self)\nD()", SURVIVES),
    ("class D:\n    def __getattr__(self, n): return getattr(self, n + 'x')\nD().a", SURVIVES),
    ("'x' * 10**15", SURVIVES),
    ("class Huge:\n    def __repr__(self): return 'x' * (100 << 20)\nHuge()", SURVIVES),
    ("'x' * (200 << 20)", SURVIVES),
    ("print('y' * (100 << 20), end='')", SURVIVES),
    ("raise ValueError('z' * (50 << 20))", SURVIVES),
    # Exceptions.
    ("class B(BaseException):\n    def __str__(self): raise B()\nraise B()", SURVIVES),
    ("class R:\n    def __repr__(self): raise KeyboardInterrupt\nR()", SURVIVES),
    (
        "class M(type):\n    __name__ = property(lambda c: 1 / 0)\n    def __repr__(c): 1 / 0\n"
        "class E(Exception, metaclass=M): pass\nraise E",
        SURVIVES,
    ),
    (
        "class E(Exception):\n    __class__ = property(lambda s: 1 / 0)\n"
        "    __traceback__ = property(lambda s: 1 / 0)\nraise E",
        SURVIVES,
    ),
    ("e = ValueError()\ne.__context__ = e.__cause__ = e\nraise e", SURVIVES),
    ("e = ValueError()\ne.__notes__ = [1, None]\nraise e", SURVIVES),
    ("e = SyntaxError('a'); e.text = 5; e.lineno = 'x'; e.filename = None\nraise e", SURVIVES),
    ("e = None\nfor n in range(300): e = ExceptionGroup('g', [e or ValueError(n)])\nraise e", SURVIVES),
    ("raise type('a\\nb', (Exception,), {})('\\ud800')", SURVIVES),
    ("raise __import__('asyncio').CancelledError", SURVIVES),
    ("raise GeneratorExit", SURVIVES),
    (
        "class N:\n    def __del__(self): raise ValueError('noise')\nn = [N() for _ in range(50)]\ndel n",
        SURVIVES,
    ),
    (
        "def g():\n    try: yield 1\n    finally: raise ValueError('closing')\nk = g(); next(k); del k",
        SURVIVES,
    ),
    # Hooks that stay.
    ("import sys\ndef t(*a): raise ValueError('trace')\nsys.settrace(t)", SURVIVES),
    ("import sys\ndef t(*a): return t\nsys.settrace(t); sys.setprofile(t)", POISONED),
    ("import sys\ndef t(*a): raise ValueError('profile')\nsys.setprofile(t)", POISONED),
    ("import gc\ngc.callbacks.append(lambda *a: 1 / 0)\ngc.collect()", SURVIVES),
    ("import gc; gc.callbacks.clear(); gc.disable(); gc.set_threshold(1)", SURVIVES),
    ("import atexit; atexit.register(lambda: 1 / 0)", SURVIVES),
    ("import _signal\n_signal.signal(14, lambda *a: 1 / 0)\n_signal.setitimer(0, 0.0005)", SURVIVES),
    ("import _signal; _signal.setitimer(0, 0); _signal.signal(2, _signal.SIG_IGN)", SURVIVES),
    ("import _signal; _signal.pthread_sigmask(_signal.SIG_BLOCK, range(1, 65))", SURVIVES),
    ("import sys; sys.setswitchinterval(10)", SURVIVES),
    (
        "import sys, threading; sys.setswitchinterval(0.005)\n"
        "threading.Thread(target=lambda: [print(n) for n in range(20000)]).start()",
        SURVIVES,
    ),
    (
        "import threading\ndef f(): raise ValueError\nfor _ in range(20): threading.Thread(target=f).start()",
        SURVIVES,
    ),
    ("import tempfile, posix\nd = tempfile.mkdtemp()\nposix.chdir(d)\nposix.rmdir(d)", SURVIVES),
    (
        "import asyncio\nasync def f(): raise SystemExit(1)\n"
        "await asyncio.sleep(0)\nt = asyncio.ensure_future(f())",
        SURVIVES,
    ),
    (
        "async def spin():\n    while True: await asyncio.sleep(0)\nt = asyncio.ensure_future(spin())",
        POISONED,
    ),
    ("import asyncio\nasyncio.get_event_loop().stop = None\nasyncio.new_event_loop = None", POISONED),
    # Other processes.
    ("import posix; pid = posix.fork()", SURVIVES),
    ("if posix.fork() == 0: 1 / 0", SURVIVES),
    ("for _ in range(4): pid = posix.fork()", SURVIVES),
    ("if posix.fork() == 0:\n    import time\n    time.sleep(600)", SURVIVES),
    ("import subprocess; subprocess.Popen(['sleep', '600'], start_new_session=True)", SURVIVES),
    ("import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (20, 20))", POISONED),
    # The end of the process.
    ("import posix; posix._exit(3)", REPLACED),
    ("import os; os.abort()", REPLACED),
    ("import ctypes; ctypes.string_at(0)", REPLACED),
    ("import os; os.kill(os.getpid(), 9)", REPLACED),
    ("import signal; signal.raise_signal(signal.SIGTERM)", REPLACED),
    ("import os; os.closerange(3, 1000)", REPLACED),
    (
        "import os\nfor fd in range(3, 60):\n    try: os.write(fd, b'\\xff' * 64)\n    except OSError: pass",
        REPLACED,
    ),
    ("import sys; sys.setrecursionlimit(10**9)\nd = []\nfor _ in range(10**6): d = [d]\nrepr(d)", REPLACED),
    ("import os; os.execv('/bin/true', ['true'])", REPLACED),
    ("import threading, os; threading.Timer(0, os._exit, [1]).start(); threading.Event().wait()", REPLACED),
    ("import sys; sys.modules.clear(); sys.builtin_module_names = ()", POISONED),
]


@pytest.fixture(scope="module")
def session(default_spark):
    """One session for all programs: what they break is Python's own, whatever the Spark."""
    started = Driver(default_spark.python)
    try:
        started.ready()
        yield started
    finally:
        started.close()


@pytest.mark.parametrize("code, outcome", PROGRAMS, ids=range(len(PROGRAMS)))
def test_after_it_one_and_one_are_two(session, code, outcome):
    before = session.interpreter_pid()
    result = session.run(code)
    assert result.state == "available"
    assert len(result.raw) <= session.limit + (1 << 20)
    assert code in REFUSED or "SyntaxError" in code or result.output.get("ename") not in NOT_TRIED, (
        result.output
    )
    # What the program left running may go on to print.
    assert "2" in session.run("1 + 1").text.split("\n")
    assert (session.interpreter_pid() == before) is (outcome != REPLACED), result.output
    if outcome == POISONED:
        session.restart_interpreter()
        session.run("'a new interpreter'")


def test_a_repr_without_end_is_cancelled(session):
    number = session.submit("class E:\n    def __repr__(self):\n        while True: pass\nE()")
    session.started(number)
    session.cancel(number)
    assert session.result(number).state == "cancelled"
    assert session.run("1 + 1").text == "2"
