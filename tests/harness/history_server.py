"""Spark's real history server, of the package of a Spark, on loopback."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import requests

from harness.daemons import Daemon
from harness.processes import wait_until
from harness.server import environment, free_port
from harness.spark import SHORT_LIVED, Spark

MAIN = "org.apache.spark.deploy.history.HistoryServer"


class HistoryServer:
    """Shows the applications whose event logs are in its directory."""

    def __init__(self, spark: Spark):
        self.home = Path(tempfile.mkdtemp(prefix="firesteel-history-"))
        self.logs = self.home / "logs"
        self.logs.mkdir()
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        options = {
            "fs.logDirectory": f"file://{self.logs}",
            "fs.update.interval": "1s",
            "ui.port": port,
        }
        java = " ".join(f"-Dspark.history.{key}={value}" for key, value in options.items())
        env = environment(
            SPARK_LOCAL_IP="127.0.0.1",
            SPARK_HOME=spark.home,
            SPARK_DAEMON_MEMORY="300m",
            SPARK_DAEMON_JAVA_OPTS=f"{SHORT_LIVED} {java}",
        )
        argv = [f"{spark.home}/bin/spark-class", MAIN]
        self.daemon = Daemon(argv, self.home / "log", [port], env, limit=90)
        self.http = requests.Session()
        self.http.trust_env = False
        try:
            self.daemon.start()
        except BaseException:
            self.stop()
            raise

    @property
    def rule(self) -> dict[str, str]:
        """What an administrator forces, so that it has all event logs."""
        return {"spark.eventLog.enabled": "true", "spark.eventLog.dir": f"file://{self.logs}"}

    def wait_page(self, url: str, text: str) -> None:
        """Wait until a link leads to a page of this application, with this text in it."""
        assert url.startswith(f"{self.url}/"), url

        def there() -> bool:
            answer = self.http.get(url, timeout=30)
            return answer.status_code == 200 and text in answer.text

        wait_until(f"{url} shows {text}", there, 60, 0.5)

    def stop(self) -> None:
        """End it."""
        self.daemon.stop()
        shutil.rmtree(self.home, ignore_errors=True)
