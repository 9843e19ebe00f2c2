"""The interpreter's life: its channel to the agent, one statement after another, until the channel ends.

Calls attach, completion, descriptors, interrupt and repl.
"""

import builtins
import mmap
import os
import platform
import socket
import sys
import types

from ..frames import OVERHEAD, BadFrame, Decoder, encode
from . import completion, descriptors, interrupt
from .attach import SparkHandle, import_pyspark
from .repl import Repl

READ_BYTES = 64 << 10


def serve(control_fd: int, completion_fd: int, cancelled_fd: int, max_output: int, max_frame: int) -> None:
    """Serve the agent until it closes the channel."""
    for fd in (control_fd, completion_fd, cancelled_fd):
        os.set_inheritable(fd, False)  # What user code starts must not hold the channels.
    control = socket.socket(fileno=control_fd)
    streams = descriptors.Streams()
    streams.die_with_the_agent()
    interrupts = interrupt.Interrupts(mmap.mmap(cancelled_fd, 8))
    interrupts.install()
    os.close(cancelled_fd)
    os.environ.setdefault("MPLBACKEND", "agg")

    # User code's `__main__`, so that what it defines is pickled by value, as in a shell.
    module = types.ModuleType("__main__", "The statements of this session.")
    module.__dict__["__builtins__"] = builtins
    sys.modules["__main__"] = module
    sys.argv[:] = [""]

    completer = completion.serve_on(socket.socket(fileno=completion_fd), module.__dict__, max_frame)
    os.register_at_fork(after_in_child=lambda: (control.close(), completer.close()))
    import_pyspark()
    spark = SparkHandle(module.__dict__)
    repl = Repl(module.__dict__, interrupts, streams, spark, max_output)
    decoder = Decoder(max_frame + OVERHEAD)
    process = os.getpid()
    while True:
        data = control.recv(READ_BYTES)
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
                control.sendall(encode({"type": "attached", "version": platform.python_version()}))
            elif header["type"] == "run":
                reply, value = repl.run(header["id"], body.decode("utf-8", "replace"))
                if os.getpid() != process:
                    os._exit(0)  # User code forked, and this is the copy.
                reply.update(type="done", id=header["id"], secret=header["secret"])
                try:
                    control.sendall(encode(reply, value))
                except OSError:
                    print("The statement closed the interpreter's own channel.", file=sys.__stderr__)
                    os._exit(1)
