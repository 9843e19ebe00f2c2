"""YARN on loopback: the real ResourceManager and NodeManager, on free ports, in directories of their own."""

from __future__ import annotations

import base64
import getpass
import os
import shutil
import subprocess
import tempfile
from functools import lru_cache
from pathlib import Path
from typing import Any

import requests

from harness.daemons import Daemon
from harness.processes import wait_until
from harness.realm import Realm, token
from harness.server import ROOT, environment, free_port
from harness.spark import SHORT_LIVED, Spark

SERVER = "org.apache.hadoop.yarn.server.resourcemanager"
RESOURCE_MANAGER = f"{SERVER}.ResourceManager"
NODE_MANAGER = "org.apache.hadoop.yarn.server.nodemanager.NodeManager"
LOG_SERVER = "org.apache.hadoop.yarn.server.applicationhistoryservice.ApplicationHistoryServer"
START_LIMIT = 120.0
LIVE = "NEW,NEW_SAVING,SUBMITTED,ACCEPTED,RUNNING"


@lru_cache
def jars() -> str:
    """Where YARN's jars are."""
    script = ROOT / "scripts/yarn_jars.sh"
    return subprocess.run([script], capture_output=True, text=True, check=True).stdout.strip()


def xml(settings: dict[str, Any]) -> str:
    """Hadoop's configuration file."""
    rows = "".join(
        f"<property><name>{key}</name><value>{value}</value></property>\n" for key, value in settings.items()
    )
    return f"<configuration>\n{rows}</configuration>\n"


class Ticket(requests.auth.AuthBase):
    """Shows this process's own Kerberos ticket with each request."""

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        shown = base64.b64encode(token()).decode()
        request.headers["Authorization"] = f"Negotiate {shown}"
        return request


class Yarn:
    """A ResourceManager, which remembers what runs when it is restarted, and a NodeManager."""

    def __init__(
        self,
        memory: int = 6144,
        cores: int = 8,
        realm: Realm | None = None,
        gpus: int = 0,
        aggregates_logs: bool = False,
    ):
        self.host = "localhost" if realm else "127.0.0.1"
        self.home = Path(tempfile.mkdtemp(prefix="firesteel-yarn-"))
        self.conf = self.home / "conf"
        self.conf.mkdir()
        self.port = free_port()
        self.url = f"http://{self.host}:{self.port}"
        self.http = requests.Session()
        self.http.trust_env = False
        node_port = free_port()
        self.java: list[str] = []
        core = {"fs.defaultFS": "file:///", "hadoop.tmp.dir": self.home / "tmp"}
        if realm:
            core |= self._asks_for_tickets(realm)
        (self.conf / "core-site.xml").write_text(xml(core))
        site = self._site(memory, cores, node_port)
        log_port = free_port()
        if aggregates_logs:
            site |= self._aggregates_logs(log_port)
        (self.conf / "yarn-site.xml").write_text(xml(site))
        if gpus:
            # Counted as any resource that an administrator names: no device is looked for.
            kind = "yarn.io/gpu"
            (self.conf / "resource-types.xml").write_text(xml({"yarn.resource-types": kind}))
            (self.conf / "node-resources.xml").write_text(
                xml({f"yarn.nodemanager.resource-type.{kind}": gpus})
            )
        (self.conf / "capacity-scheduler.xml").write_text(xml(self._queues()))
        (self.conf / "log4j.properties").write_text(
            "log4j.rootLogger=INFO,out\nlog4j.appender.out=org.apache.log4j.ConsoleAppender\n"
            "log4j.appender.out.layout=org.apache.log4j.PatternLayout\n"
            "log4j.appender.out.layout.ConversionPattern=%d{ISO8601} %p %c{2}: %m%n\n"
        )
        self.master = self._daemon(RESOURCE_MANAGER, "resourcemanager", [self.port])
        self.node = self._daemon(NODE_MANAGER, "nodemanager", [node_port])
        self.log_server = self._daemon(LOG_SERVER, "log-server", [log_port]) if aggregates_logs else None
        try:
            self.start_master()
            self.node.start()
            if self.log_server:
                self.log_server.start()
            wait_until("the node is there", self._has_node, START_LIMIT)
        except BaseException:
            self.stop()
            raise

    def _asks_for_tickets(self, realm: Realm) -> dict[str, Any]:
        # Of the web servers alone: among themselves the daemons know one another by name.
        self.http.auth = Ticket()
        self.java.append(f"-Djava.security.krb5.conf={realm.env['KRB5_CONFIG']}")
        secret = self.home / "secret"
        secret.write_text("cookies are signed with it")
        settings = {
            "type": "kerberos",
            "simple.anonymous.allowed": "false",
            "signature.secret.file": secret,
            "token.validity": 2,
            "kerberos.principal": "*",
            "kerberos.keytab": realm.web_keytab(),
        }
        return {
            "hadoop.http.filter.initializers": "org.apache.hadoop.security.AuthenticationFilterInitializer",
            **{f"hadoop.http.authentication.{key}": value for key, value in settings.items()},
        }

    def _aggregates_logs(self, port: int) -> dict[str, Any]:
        # Nodes give an application's logs away when it has ended; this server has them from then on.
        timeline = "yarn.timeline-service"
        return {
            "yarn.log-aggregation-enable": "true",
            "yarn.nodemanager.remote-app-log-dir": f"file://{self.home}/aggregated",
            "yarn.log.server.web-service.url": f"http://127.0.0.1:{port}/ws/v1/applicationhistory",
            f"{timeline}.hostname": "127.0.0.1",
            f"{timeline}.bind-host": "127.0.0.1",
            f"{timeline}.address": f"127.0.0.1:{free_port()}",
            f"{timeline}.webapp.address": f"127.0.0.1:{port}",
            f"{timeline}.store-class": "org.apache.hadoop.yarn.server.timeline.MemoryTimelineStore",
            f"{timeline}.generic-application-history.save-non-am-container-meta-info": "false",
        }

    def _site(self, memory: int, cores: int, node_port: int) -> dict[str, Any]:
        manager, node = "yarn.resourcemanager", "yarn.nodemanager"
        others = ("address", "scheduler.address", "resource-tracker.address", "admin.address")
        return {
            f"{manager}.hostname": "127.0.0.1",
            f"{manager}.bind-host": "127.0.0.1",
            f"{manager}.webapp.address": f"{self.host}:{self.port}",
            **{f"{manager}.{name}": f"127.0.0.1:{free_port()}" for name in others},
            f"{manager}.recovery.enabled": "true",
            f"{manager}.store.class": f"{SERVER}.recovery.FileSystemRMStateStore",
            f"{manager}.fs.state-store.uri": f"file://{self.home}/rm",
            f"{manager}.scheduler.class": f"{SERVER}.scheduler.capacity.CapacityScheduler",
            f"{manager}.nodemanagers.heartbeat-interval-ms": 200,
            f"{manager}.connect.retry-interval.ms": 500,
            "yarn.scheduler.minimum-allocation-mb": 256,
            f"{node}.hostname": self.host,
            f"{node}.bind-host": "127.0.0.1",
            f"{node}.address": "127.0.0.1:0",
            f"{node}.localizer.address": f"127.0.0.1:{free_port()}",
            f"{node}.webapp.address": f"{self.host}:{node_port}",
            f"{node}.resource.memory-mb": memory,
            f"{node}.resource.cpu-vcores": cores,
            f"{node}.vmem-check-enabled": "false",
            f"{node}.pmem-check-enabled": "false",
            f"{node}.disk-health-checker.enable": "false",
            f"{node}.disk-health-checker.max-disk-utilization-per-disk-percentage": 100,
            f"{node}.local-dirs": self.home / "local",
            f"{node}.log-dirs": self.home / "logs",
            f"{node}.env-whitelist": "JAVA_HOME,PATH",
            "yarn.application.classpath": f"{jars()}/*",
        }

    def _queues(self) -> dict[str, Any]:
        # The masters of `narrow` may have hardly any memory: one application waits for the other.
        root = "yarn.scheduler.capacity.root"
        calculator = "org.apache.hadoop.yarn.util.resource.DominantResourceCalculator"
        queues = {
            f"{root}.queues": "default,analysts,narrow",
            "yarn.scheduler.capacity.resource-calculator": calculator,
        }
        for queue, capacity, masters in (("default", 60, 0.9), ("analysts", 20, 0.9), ("narrow", 20, 0.01)):
            queues |= {
                f"{root}.{queue}.capacity": capacity,
                f"{root}.{queue}.maximum-capacity": 100,
                f"{root}.{queue}.user-limit-factor": 10,
                f"{root}.{queue}.state": "RUNNING",
                f"{root}.{queue}.maximum-am-resource-percent": masters,
            }
        return queues

    def _daemon(self, main: str, name: str, ports: list[int]) -> Daemon:
        opens = [f"--add-opens=java.base/java.{part}=ALL-UNNAMED" for part in ("lang", "util")]
        java = f"{os.environ['JAVA_HOME']}/bin/java" if "JAVA_HOME" in os.environ else "java"
        options = [*SHORT_LIVED.split(), *self.java, "-Xmx300m", "-Djava.net.preferIPv4Stack=true", *opens]
        argv = [java, *options, "-cp", f"{self.conf}:{jars()}/*", main]
        env = environment(HADOOP_CONF_DIR=str(self.conf), HADOOP_USER_NAME=getpass.getuser())
        return Daemon(argv, self.home / f"{name}.log", ports, env, limit=START_LIMIT)

    def start_master(self) -> None:
        """Start the ResourceManager, again where it has run before, and wait until it works."""
        self.master.start()
        wait_until("the ResourceManager is active", self._is_active, START_LIMIT)

    def restart_master(self) -> None:
        """Kill the ResourceManager and start another that knows what it knew."""
        self.master.kill()
        self.start_master()
        wait_until("the node is back", self._has_node, START_LIMIT)

    def _is_active(self) -> bool:
        answer = self.http.get(f"{self.url}/ws/v1/cluster/info", timeout=60)
        return answer.ok and answer.json()["clusterInfo"]["state"] == "STARTED"

    def _has_node(self) -> bool:
        answer = self.http.get(f"{self.url}/ws/v1/cluster/metrics", timeout=60)
        return answer.ok and answer.json()["clusterMetrics"]["activeNodes"] == 1

    def environment(self) -> dict[str, str]:
        """What a server needs in its environment to find this YARN."""
        return {"HADOOP_CONF_DIR": str(self.conf)}

    def settings(self, spark: Spark, mode: str) -> dict[str, Any]:
        """A server's settings for this YARN. The jars of Spark are where they are: nothing is uploaded."""
        on_loopback = {"SPARK_LOCAL_IP": "127.0.0.1"}
        conf = {
            **spark.settings["spark.conf"],
            "spark.yarn.jars": f"local:{spark.home}/jars/*",
            "spark.yarn.stagingDir": f"file://{self.home}/staging",
            "spark.yarn.appMasterEnv.SPARK_LOCAL_IP": "127.0.0.1",
            "spark.executorEnv.SPARK_LOCAL_IP": "127.0.0.1",
            "spark.yarn.am.memory": "256m",
            "spark.yarn.am.memoryOverhead": "128m",
            "spark.yarn.am.extraJavaOptions": SHORT_LIVED,
            "spark.driver.memory": "600m",
            "spark.executor.memory": "512m",
            "spark.executor.memoryOverhead": "128m",
            "spark.driver.memoryOverhead": "128m",
            "spark.executor.instances": "1",
            "spark.sql.shuffle.partitions": "2",
            "spark.default.parallelism": "2",
        }
        return {
            **spark.settings,
            "spark.master": "yarn",
            "spark.deploy_mode": mode,
            "spark.conf": conf,
            "driver.env": {**spark.settings["driver.env"], **on_loopback},
        }

    def applications(self, **query: str) -> list[dict]:
        """The applications that the ResourceManager knows."""
        answer = self.http.get(f"{self.url}/ws/v1/cluster/apps", params=query, timeout=60)
        answer.raise_for_status()
        return (answer.json().get("apps") or {}).get("app") or []

    def application(self, app_id: str) -> dict:
        """One of them."""
        answer = self.http.get(f"{self.url}/ws/v1/cluster/apps/{app_id}", timeout=60)
        answer.raise_for_status()
        return answer.json()["app"]

    def kill(self, app_id: str) -> None:
        """Kill an application, as an operator would."""
        url = f"{self.url}/ws/v1/cluster/apps/{app_id}/state"
        answer = self.http.put(url, json={"state": "KILLED"}, timeout=60)
        assert answer.status_code in (200, 202), answer.text

    def wait_over(self, app_id: str, limit: float = 60) -> dict:
        """Wait until an application has ended, and give it."""

        def over() -> dict | None:
            found = self.application(app_id)
            return found if found["state"] in ("FINISHED", "FAILED", "KILLED") else None

        return wait_until(f"{app_id} ends", over, limit)

    def stop(self) -> None:
        """End what still runs, then the node and the master."""
        try:
            if self.master.process is not None:
                for found in self.applications(states=LIVE):
                    self.kill(found["id"])
                wait_until("no application is left", lambda: not self.applications(states=LIVE), 60)
        finally:
            if self.log_server:
                self.log_server.stop()
            self.node.stop()
            self.master.stop()
            shutil.rmtree(self.home, ignore_errors=True)
