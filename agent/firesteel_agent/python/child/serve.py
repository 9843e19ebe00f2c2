"""The interpreter's life: its channel to the agent, one statement or job after another, until that ends.

Calls attach, completion, descriptors, display, gpu, imported, interrupt, numbers, outlet, prepare,
repl and shield.
"""

import builtins
import mmap
import os
import platform
import sys
import types
from contextlib import suppress
from typing import Tuple

from ...frames import OVERHEAD, BadFrame, Decoder
from ...numbers import is_job
from . import completion, descriptors, gpu, interrupt
from .attach import SparkHandle, import_pyspark
from .display import IPYTHON_DISPLAY, Display
from .imported import WhenImported
from .outlet import send
from .prepare import prepare
from .repl import Repl
from .shield import keep_builtins

READ_BYTES = 64 << 10


_read, _close, _getpid, _exit = os.read, os.close, os.getpid, os._exit


def serve(
    control: int, completion_fd: int, cancelled_fd: int, max_output: int, max_frame: int, rich: int
) -> None:
    """Serve the agent until it closes the channel. The first three are descriptors, `rich` is 0 or 1."""
    for fd in (control, completion_fd, cancelled_fd):
        os.set_inheritable(fd, False)  # What user code starts must not hold the channels.
    streams = descriptors.Streams()
    streams.die_with_the_agent()
    interrupts = interrupt.Interrupts(mmap.mmap(cancelled_fd, 8))
    interrupts.install()
    os.close(cancelled_fd)
    os.environ.setdefault("MPLBACKEND", "agg")

    # User code's `__main__`, so that what it defines is pickled by value, as in a shell.
    module = types.ModuleType("__main__", "The statements of this session.")
    display = Display(max_output, bool(rich))
    module.__dict__.update(__builtins__=builtins, display=display.function)
    WhenImported(IPYTHON_DISPLAY, lambda module: setattr(module, "display", display.function))
    gpu.keep_to_share()
    sys.modules["__main__"] = module
    sys.argv[:] = [""]

    completion.serve_on(completion_fd, module.__dict__, max_frame)
    os.register_at_fork(after_in_child=lambda: _close_all((control, completion_fd)))
    import_pyspark()
    spark = SparkHandle(module.__dict__)
    repl = Repl(module, interrupts, streams, spark, display, max_output)
    decoder = Decoder(max_frame + OVERHEAD)
    keep_builtins("firesteel_agent")
    process = _getpid()
    while True:
        repl.wait_readable(control)
        data = _read(control, READ_BYTES)
        if not data:
            return
        try:
            frames = decoder.feed(data)
        except BadFrame:
            return
        for header, body in frames:
            if header["type"] == "attach":
                spark.attach(header["port"], header["gateway_secret"])
                interrupts.install()  # PySpark's own handler, which cancels every job, came with the context.
                send(control, {"type": "attached", "version": platform.python_version()})
            elif header["type"] == "prepare":
                failed = prepare(header["imports"], spark.session if header["first_job"] else None)
                send(control, {"type": "prepared", "failed": failed})
            elif header["type"] == "rename":
                spark.context.appName = header["app_name"]
            elif header["type"] == "include":
                spark.include(header["name"])
            elif header["type"] == "environment":
                os.environ.update(header["variables"])
            elif header["type"] == "run":
                spark.trace = header["trace"]
                if is_job(header["id"]):
                    reply, value = repl.run_job(header["id"], body)
                else:
                    reply, value = repl.run(header["id"], body.decode("utf-8", "replace"))
                if _getpid() != process:
                    _exit(0)  # User code forked, and this is the copy.
                reply.update(type="done", id=header["id"], secret=header["secret"])
                try:
                    send(control, reply, value)
                except OSError:
                    print("The statement closed the interpreter's own channel.", file=sys.__stderr__)
                    _exit(1)


def _close_all(descriptors: Tuple[int, ...]) -> None:
    """In a copy of the process: its channels are not the copy's. A copy of a copy has none."""
    for fd in descriptors:
        with suppress(OSError):
            _close(fd)
