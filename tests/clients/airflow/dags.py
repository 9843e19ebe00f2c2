"""What Airflow itself runs in test_airflow.py, with the Python of .venv/airflow. As a program it makes
Airflow's tables and runs the DAG once, as `airflow dags test` does.

The jobs are in the directory that FIRESTEEL_TEST_JOBS names.
"""

from __future__ import annotations

import os
from datetime import datetime, timedelta
from typing import Any

from airflow.providers.apache.livy.operators.livy import LivyOperator
from airflow.providers.apache.livy.sensors.livy import LivySensor
from airflow.sdk import DAG

POLL = 0.2
SOON = timedelta(seconds=3)


def job(task: str, script: str, **more: Any) -> LivyOperator:
    """A task that runs one of the jobs as a batch."""
    more = {"polling_interval": POLL, "name": f"airflow-{task}", **more}
    return LivyOperator(task_id=task, file=f"{os.environ['FIRESTEEL_TEST_JOBS']}/{script}", **more)


with DAG("livy", schedule=None, start_date=datetime(2026, 1, 1)) as dag:
    success = job(
        "success",
        "lines.py",
        args=["in order", 350, 0.5, "é 🎉"],
        conf={"spark.ui.enabled": "false", "spark.sql.shuffle.partitions": 2, "spark.speculation": False},
        driver_memory="512m",
        driver_cores="1",
        executor_cores=1,
        num_executors="1",
    )
    submitted = job("submitted", "quick.py", polling_interval=0)
    others = [
        job("failure", "fails.py"),
        job("deferred_success", "quick.py", deferrable=True),
        job("deferred_failure", "fails.py", deferrable=True),
        job("timeout", "sleeps.py", execution_timeout=SOON),
        job("deferred_timeout", "sleeps.py", execution_timeout=SOON, deferrable=True),
        LivySensor(task_id="sensed", batch_id=submitted.output, poke_interval=POLL),
    ]
    # Last of all, whatever became of the others.
    [success, *others] >> job("killed", "sleeps.py", trigger_rule="all_done")

if __name__ == "__main__":
    from airflow.utils.db import initdb

    initdb()
    dag.test()
