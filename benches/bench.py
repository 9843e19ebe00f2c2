"""The figures, each beside its peers in the same run: the peers take turns, so that whatever else the machine
does meets all of them.

Round trip: `1 + 1` posted over HTTP until its result is there, beside the same line in a bare interactive
Python over pipes and in a Jupyter kernel (ipykernel over jupyter_client). Start: from creating a session
until it is idle, beside a bare `spark-submit` of a script that makes a SparkSession and nothing else, until
that session is there and until it exits.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Callable

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))

from harness.api import Session  # noqa: E402
from harness.processes import rss_mib  # noqa: E402
from harness.server import Server, environment  # noqa: E402
from harness.spark import Spark, sparks  # noqa: E402
from jupyter_client.manager import start_new_kernel  # noqa: E402

CODE = "1 + 1"
QUIET = 1.0
MASTER = "local[2]"
BARE = (
    "from pyspark.sql import SparkSession\nSparkSession.builder.getOrCreate()\nprint('ready', flush=True)\n"
)


def timed(once: Callable[[], None], count: int) -> list[float]:
    """Milliseconds of each call."""
    times = []
    for _ in range(count):
        begun = time.perf_counter()
        once()
        times.append((time.perf_counter() - begun) * 1000)
    return times


def quantile(values: list[float], share: float) -> float:
    """The value below which this share of the values lies."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


# ---- Round trips: each gives something to call for one


class OverHttp:
    """A statement over one kept connection: the POST brings the result when it is quick, else it is asked
    for."""

    name = "firesteel, HTTP"

    def __init__(
        self, port: int, session: Session, code: str = CODE, kind: str = "pyspark", shows: str = "2"
    ):
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        self.path = f"{session.path}/statements"
        self.asked = json.dumps({"code": code, "kind": kind})
        self.shows = shows
        self.asked_again = 0

    def exchange(self, method: str, path: str, body: str | None = None) -> dict:
        """One exchange."""
        self.connection.request(method, path, body, {"Content-Type": "application/json"})
        return json.loads(self.connection.getresponse().read())

    def __call__(self) -> None:
        answer = self.exchange("POST", self.path, self.asked)
        while answer["state"] != "available":
            self.asked_again += 1
            answer = self.exchange("GET", f"{self.path}/{answer['id']}")
        assert answer["output"]["status"] == "ok", answer
        assert self.shows in json.dumps(answer["output"]["data"]), answer

    def close(self) -> None:
        """End the connection."""
        self.connection.close()


class OverPipes:
    """A bare interactive Python."""

    name = "python -i, pipes"

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-u", "-i", "-q"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment(),
        )

    def __call__(self) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(CODE.encode() + b"\n")
        self.process.stdin.flush()
        assert self.process.stdout.readline() == b"2\n"

    def close(self) -> None:
        """End it."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(30)


class OverJupyter:
    """A real ipykernel: until its result and its reply are there."""

    name = "jupyter kernel"

    def __init__(self) -> None:
        self.manager, self.client = start_new_kernel(kernel_name="python3")

    def __call__(self) -> None:
        sent = self.client.execute(CODE)
        shown = False
        while not shown:
            message = self.client.get_iopub_msg(timeout=60)
            if message["parent_header"].get("msg_id") == sent and message["msg_type"] == "execute_result":
                assert message["content"]["data"]["text/plain"] == "2"
                shown = True
        while self.client.get_shell_msg(timeout=60)["parent_header"].get("msg_id") != sent:
            pass

    def close(self) -> None:
        """End it."""
        self.client.stop_channels()
        self.manager.shutdown_kernel(now=True)


def take_turns(peers: list[Any], rounds: int, count: int, warm_up: int) -> dict[str, Any]:
    """Time each of the peers in turn, for each round; ratios are the first to each. Closes the peers."""
    times: dict[str, list[list[float]]] = {peer.name: [] for peer in peers}
    loads = []
    for peer in peers:
        timed(peer, warm_up)
    for _ in range(rounds):
        loads.append(os.getloadavg()[0])
        for peer in peers:
            times[peer.name].append(timed(peer, count))
    for peer in peers:
        peer.close()
    ours = [statistics.median(one) for one in times[peers[0].name]]
    found: dict[str, Any] = {"loads": loads, "peers": {}}
    for name, each in times.items():
        medians = [statistics.median(one) for one in each]
        every = [value for one in each for value in one]
        found["peers"][name] = {
            "unit": "ms",
            "min": min(medians),
            "median": statistics.median(medians),
            "max": max(medians),
            "p99": quantile(every, 0.99),
            "ratio": statistics.median(mine / theirs for mine, theirs in zip(ours, medians)),
        }
    return found


def round_trips(server: Server, rounds: int, count: int) -> dict[str, Any]:
    """Over HTTP, over pipes, and Jupyter's."""
    session = server.api.create(conf={"spark.ui.enabled": "false"})
    session.wait("idle")
    ours = OverHttp(server.port, session)
    found = take_turns([ours, OverPipes(), OverJupyter()], rounds, count, 50)
    found |= {"asked_again": ours.asked_again, "server_rss_mib": rss_mib(server.pid)}
    session.delete()
    return found


# ---- Starts


def start_session(server: Server) -> float:
    """Seconds from the request to `idle`, asked for each 5 ms."""
    begun = time.perf_counter()
    session = server.api.create()
    while session.state() == "starting":
        time.sleep(0.005)
    took = time.perf_counter() - begun
    assert session.state() == "idle", session.log()
    session.delete()
    return took


def start_bare(spark: Spark, script: Path) -> tuple[float, float]:
    """Seconds until the bare script's session is there, and until it has exited."""
    argv = [f"{spark.home}/bin/spark-submit", "--master", MASTER, "--name", "bare", str(script)]
    env = environment(SPARK_HOME=spark.home, PYSPARK_PYTHON=spark.python, SPARK_LOCAL_IP="127.0.0.1")
    begun = time.perf_counter()
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=env)
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    ready = time.perf_counter() - begun
    process.communicate(timeout=120)
    return ready, time.perf_counter() - begun


def starts(spark: Spark, server: Server, rounds: int) -> dict[str, Any]:
    """A session and a bare script in turn, for each round."""
    with tempfile.TemporaryDirectory() as home:
        script = Path(home) / "bare.py"
        script.write_text(BARE)
        start_bare(spark, script)
        start_session(server)
        sessions, ready, exits, loads = [], [], [], []
        for _ in range(rounds):
            loads.append(os.getloadavg()[0])
            sessions.append(start_session(server))
            first, last = start_bare(spark, script)
            ready.append(first)
            exits.append(last)
    found: dict[str, Any] = {"loads": loads, "peers": {}}
    for name, each in (
        ("firesteel, create to idle", sessions),
        ("spark-submit, session there", ready),
        ("spark-submit, exited", exits),
    ):
        found["peers"][name] = {
            "unit": "s",
            "min": min(each),
            "median": statistics.median(each),
            "max": max(each),
            "p99": None,
            "ratio": statistics.median(mine / theirs for mine, theirs in zip(sessions, each)),
        }
    return found


# ---- The report


def table(title: str, found: dict[str, Any]) -> str:
    """One workload's figures; the ratio is ours to the line's, the median over the rounds."""
    lines = ["", title, f"{'':30} {'min':>9} {'median':>9} {'max':>9} {'p99':>9} {'ours/this':>10}"]
    for name, row in found["peers"].items():
        cells = [f"{row[key]:.3f}" if row[key] is not None else "" for key in ("min", "median", "max", "p99")]
        lines.append(
            f"{name:30} "
            + " ".join(f"{cell:>9}" for cell in cells)
            + f" {row['ratio']:>10.2f}  {row['unit']}"
        )
    loads = ", ".join(f"{load:.2f}" for load in found["loads"])
    noisy = sum(load > QUIET for load in found["loads"])
    lines.append(f"load at each round's start: {loads}")
    if noisy:
        lines.append(
            f"{noisy} of {len(found['loads'])} rounds began above load {QUIET}: trust the ratios only"
        )
    return "\n".join(lines)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--binary", type=Path, default=ROOT / "target/release/firesteel")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--count", type=int, default=500, help="round trips of each peer in a round")
    parser.add_argument(
        "--json", type=Path, default=ROOT / "target/bench.json", help="where the figures go as JSON"
    )
    given = parser.parse_args()
    os.environ["FIRESTEEL_TEST_BIN"] = str(given.binary.resolve())
    report: dict[str, Any] = {
        "machine": {
            "cpus": os.cpu_count(),
            "kernel": platform.release(),
            "python": platform.python_version(),
        },
        "rounds": given.rounds,
        "count": given.count,
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }
    print(f"{given.rounds} rounds, peers in turn; {os.cpu_count()} CPUs, load {os.getloadavg()[0]:.2f}")
    for spark in reversed(sparks()):
        server = Server({**spark.plain_settings, "spark.master": MASTER})
        try:
            idle = rss_mib(server.pid)
            if "round trip" not in report:
                found = round_trips(server, given.rounds, given.count)
                report["round trip"] = found
                print(table(f"round trip of `{CODE}`, Spark {spark.version}", found), flush=True)
                print(f"results that a POST did not bring, so that a GET had to: {found['asked_again']}")
                print(f"server's memory: {idle:.1f} MiB idle, {found['server_rss_mib']:.1f} MiB after them")
                report["server_idle_rss_mib"] = idle
            found = starts(spark, server, given.rounds)
            report[f"start, Spark {spark.short}"] = found
            print(table(f"start, Spark {spark.version}, {MASTER}", found), flush=True)
        finally:
            server.stop()
    print("\na real Livy: skipped, there is none to be had from a package registry")
    given.json.parent.mkdir(parents=True, exist_ok=True)
    given.json.write_text(json.dumps(report, indent=2) + "\n")
    print(f"the same as JSON: {given.json}")


if __name__ == "__main__":
    main()
