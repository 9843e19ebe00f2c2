"""A data frame's rows as an Arrow stream, one partition's at a time. Blocks: on a worker only.

Calls arrow and spark. Spark makes the batches and serves them on a socket; it computes the next partition
while this one is read, so that the driver holds two at most.
"""

import socket
import struct
from typing import Any, Iterator, Optional, Tuple

from .arrow import END_OF_STREAM, PREFIX_BYTES, metadata_bytes, rows_of
from .spark import Spark

PIECE_BYTES = 256 << 10
"""What is read and passed on at once."""

SERVED_SECONDS = 15.0
"""How long Spark may take to answer on its socket; it gives up after that, too."""

_END_OF_PARTITION = -1
_INT = struct.Struct(">i")

Piece = Tuple[bytes, int, int]
"""Bytes of the stream, and how many rows and bytes the message has that begins with them."""


class Gone(Exception):
    """The data frame's SparkContext has been stopped."""


class ResultStream:
    """Read `pieces` once; `close` may be called by any thread, and ends them with an OSError."""

    def __init__(self, spark: Spark, group: str):
        self._spark = spark
        self._group = group
        self._socket: Optional[socket.socket] = None
        self._closed = False

    def pieces(self, frame: Any, limit: Optional[int]) -> Iterator[Piece]:
        """The stream of the frame's first `limit` rows, or of all. What the JVM raises is a Py4JError."""
        spark = self._spark
        session = frame.queryExecution().sparkSession()
        if session.sparkContext().isStopped():
            raise Gone
        spark.adopt_thread()
        spark.enter_group(self._group, session)
        # A new data frame: the old one's stages, once computed, would be used again.
        datasets = spark.static(frame.getClass().getName() + "$")
        fresh = datasets.ofRows(session, frame.queryExecution().commandExecuted())
        if limit is not None:
            fresh = fresh.limit(limit)
        schema = spark.arrow_schema(session, fresh)
        rdd = fresh.toArrowBatchRdd()
        served = spark.static("org.apache.spark.api.python.PythonRDD$").toLocalIteratorAndServe(rdd, True)
        # With the first batch, so that what fails before it is told in place of a stream.
        before = schema
        try:
            for data, rows, size in self._batches(served[0], served[1]):
                yield before + data, rows, len(before) + size
                before = b""
        except EOFError:
            if self._closed:
                raise OSError("closed") from None
            served[2].getResult()
            raise RuntimeError("Spark ended the result before its end.") from None
        finally:
            self.close()
        yield before + END_OF_STREAM, 0, len(before)

    def close(self) -> None:
        """Let go of Spark's socket, also under a thread that reads it."""
        self._closed = True
        end = self._socket
        if end is not None:
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                return  # It has ended already.

    def _batches(self, where: Any, secret: Optional[str]) -> Iterator[Piece]:
        with _connect(where) as end:
            self._socket = end
            if self._closed:
                raise OSError("closed")
            end.settimeout(SERVED_SECONDS)
            # Without a socket's port there is a file, which only this user can open.
            if isinstance(where, int):
                assert secret is not None
                text = secret.encode("utf-8")
                end.sendall(_INT.pack(len(text)) + text)
                if _exactly(end, _read_int(end)) != b"ok":
                    raise RuntimeError("Spark refused the agent's secret.")
            end.settimeout(None)
            while self._next_partition(end):
                length = _read_int(end)
                while length != _END_OF_PARTITION:
                    yield from _batch(end, length)
                    length = _read_int(end)

    def _next_partition(self, end: socket.socket) -> bool:
        end.sendall(_INT.pack(1))
        answer = _read_int(end)
        if answer < 0:
            raise EOFError
        return answer > 0


def _batch(end: socket.socket, length: int) -> Iterator[Piece]:
    """One message, in pieces."""
    prefix = _exactly(end, PREFIX_BYTES)
    metadata = _exactly(end, metadata_bytes(prefix))
    rows = rows_of(metadata)
    left = length - PREFIX_BYTES - len(metadata)
    head, size = prefix + metadata, length
    while head or left > 0:
        body = _exactly(end, min(left, max(0, PIECE_BYTES - len(head))))
        left -= len(body)
        yield head + body, rows, size
        head, rows, size = b"", 0, 0


def _connect(where: Any) -> socket.socket:
    """Spark 3 and 4 serve on a port of the loopback, Spark 4 also on a Unix socket where it is told to."""
    if isinstance(where, int):
        return socket.create_connection(("127.0.0.1", where), SERVED_SECONDS)
    end = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    end.settimeout(SERVED_SECONDS)
    end.connect(str(where))
    return end


def _read_int(end: socket.socket) -> int:
    return _INT.unpack(_exactly(end, _INT.size))[0]


def _exactly(end: socket.socket, count: int) -> bytes:
    data = bytearray(count)
    view, at = memoryview(data), 0
    while at < count:
        got = end.recv_into(view[at:])
        if not got:
            raise EOFError
        at += got
    return bytes(data)
