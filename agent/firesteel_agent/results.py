"""Whole results on their way to the server, each over a connection of its own: none stands in the link's way.

docs/link.md, Results, is the contract. Runs on the loop; each result is a worker's. Calls frames,
result_stream, spark and its workers.
"""

import contextlib
import json
import socket
import struct
from typing import Any, Optional

from py4j.protocol import Py4JError

from .config import Config
from .dialer import Dialer
from .frames import BadFrame, Decoder, Header, encode
from .loop import READ, Loop
from .result_stream import Gone, ResultStream
from .say import say
from .spark import Spark
from .worker import Worker

HELLO_SECONDS = 5.0
AGAIN_SECONDS = (0.0, 0.5, 2.0)
"""When the jobs of a result that is not wanted any more are cancelled: the JVM may be about to submit one."""

NOT_KEPT = (
    "The plan of statement {0} is not there: those of a session's last {1} SQL statements are (result.kept), "
    "until the SparkContext is replaced. Run the statement again."
)


class TooLarge(Exception):
    """The result is over one of its limits: a sentence."""


class Results:
    """Sends results. The server bounds how many there are at once."""

    def __init__(self, loop: Loop, config: Config, dialer: Dialer):
        self._loop = loop
        self._config = config
        self._dialer = dialer
        self._count = 0

    def send(self, header: Header, frame: Any, spark: Spark, control: Worker) -> None:
        """Send the rows of a data frame, or say that there is none where it is None."""
        self._count += 1
        sending = _Sending(self._loop, self._config, self._dialer, header, frame, spark, control, self._count)
        worker = Worker(self._loop, "result")
        worker.submit(sending.run, sending.done)
        worker.submit(spark.release_thread)
        worker.close()


class _Sending:
    """One result on its way."""

    def __init__(
        self,
        loop: Loop,
        config: Config,
        dialer: Dialer,
        header: Header,
        frame: Any,
        spark: Spark,
        control: Worker,
        count: int,
    ):
        self._loop = loop
        self._config = config
        self._dialer = dialer
        self._header = header
        self._frame = frame
        self._spark = spark
        self._control = control
        self._group = f"firesteel-result-{count}"
        self._stream = ResultStream(spark, self._group)
        self._end: Any = None
        """The connection, once there is one."""
        self._failed = False
        """Whether the result was not sent to its end, so that jobs of it may run."""

    # On the worker

    def run(self) -> None:
        """Dial, send, tell how it ended."""
        end = self._end = self._dialer.dial(HELLO_SECONDS)
        hello = {"type": "hello", "protocol": 1, "driver": self._config.driver}
        end.sendall(encode(dict(hello, ticket=self._header["ticket"])))
        _welcomed(end, self._config.max_frame)
        end.settimeout(None)
        self._loop.post(lambda: self._loop.watch(end.fileno(), READ, self._server_left))
        ended = self._sent()
        _write(end, b"")
        _write(end, json.dumps(ended).encode("utf-8"))

    def _sent(self) -> Header:
        """Send the pieces; how it ended, for the server."""
        try:
            return {"status": "ok", "rows": self._send_pieces()}
        except (OSError, EOFError):
            raise
        except Exception as failure:
            self._failed = True
            return self._refusal(failure)

    def _refusal(self, failure: Exception) -> Header:
        if isinstance(failure, TooLarge):
            return {"status": "too_large", "error": str(failure)}
        if isinstance(failure, Gone):
            return {"status": "gone", "error": NOT_KEPT.format(self._header["id"], self._config.result_kept)}
        reason = self._spark.reason_of(failure) if isinstance(failure, Py4JError) else str(failure)
        return {"status": "failed", "error": f"Spark can't compute the result: {reason}"}

    def _send_pieces(self) -> int:
        if self._frame is None:
            raise Gone
        most_rows, most_bytes = self._config.result_max_rows, self._config.result_max_bytes
        rows = sent = 0
        for piece, more, size in self._stream.pieces(self._frame, self._header["limit"]):
            # A message that does not fit is not begun.
            rows, sent = rows + more, sent + size
            if 0 < most_rows < rows:
                raise TooLarge(f"The result has over {most_rows} rows (result.max_rows).")
            if 0 < most_bytes < sent:
                raise TooLarge(f"The result has over {most_bytes} bytes (result.max_bytes).")
            _write(self._end, piece)
        return rows

    # On the loop

    def _server_left(self, _events: int) -> None:
        """The server sends nothing after its welcome: it has closed the connection."""
        self._loop.unwatch(self._end.fileno())
        self._stop()

    def _stop(self) -> None:
        self._stream.close()
        if self._end is not None:
            with contextlib.suppress(OSError):
                self._end.shutdown(socket.SHUT_RDWR)
        for seconds in AGAIN_SECONDS:
            self._loop.later(seconds, self._cancel_jobs)

    def _cancel_jobs(self) -> None:
        self._control.submit(lambda: self._spark.cancel_jobs(self._group))

    def done(self, _sent: None, failure: Optional[Exception]) -> None:
        """The connection can be closed."""
        if failure is not None and not isinstance(failure, (OSError, EOFError)):
            say(f"a result could not be sent: {failure!r}")
        if failure is not None or self._failed:
            self._stop()
        if self._end is not None:
            self._loop.unwatch(self._end.fileno())
            self._end.close()


def _write(end: Any, data: bytes) -> None:
    length = struct.pack(">I", len(data))
    if len(data) > 4096:
        end.sendall(length)
        end.sendall(data)
    else:
        end.sendall(length + data)


def _welcomed(end: Any, max_frame: int) -> None:
    """Wait for the server's welcome, after which it sends nothing."""
    decoder, frames = Decoder(max_frame), []
    while not frames:
        data = end.recv(4096)
        if not data:
            raise EOFError
        frames = decoder.feed(data)
    if frames[0][0]["type"] != "welcome":
        raise BadFrame(f"the server refused a result: {frames[0][0].get('reason', '')}")
