"""Makes a warm driver's SparkContext a session's own, through py4j. Every function may block. Calls spark."""

import time
from typing import Dict, Optional

from py4j.protocol import Py4JError

from .spark import Spark


def rehearse(spark: Spark) -> None:
    """Go the way of `take` once, which changes nothing: what it loads is there when a session waits."""
    take(spark, spark.context().appName(), {})


def take(spark: Spark, name: str, conf: Dict[str, str]) -> Optional[str]:
    """Put name and conf wherever Spark and user code look for them.

    Answers the key that can't be set any more; nothing has changed then.
    """
    runtime = spark.session().conf()
    queries = {key: value for key, value in conf.items() if key.startswith("spark.sql.")}
    for key in queries:
        # What Spark reads at its start alone, and what it does not know.
        if not runtime.isModifiable(key):
            return key
    # The session has a copy of what the context had at its start.
    copied = spark.session().sessionState().conf()
    before: Dict[str, Optional[str]] = {}
    for key, value in queries.items():
        former = copied.getConfString(key) if copied.contains(key) else None
        try:
            runtime.set(key, value)
        except Py4JError:
            # No value for this key: a fresh driver says so best.
            for changed, had in before.items():
                runtime.unset(changed) if had is None else runtime.set(changed, had)
            return key
        before[key] = former
    whole = {**conf, "spark.app.name": name}
    spark.put_conf(whole)
    for key in whole.keys() - queries.keys():
        copied.setConfString(key, whole[key])
    ui = spark.context().ui()
    if ui.isDefined():
        getattr(ui.get(), "appName_$eq")(name)
    return None


def tell_listeners(spark: Spark, name: str) -> None:
    """The UI's page of the environment, and an event log, get the name and the conf."""
    context = spark.context()
    if context is None:
        return
    option, scheduler = spark.named("scala.Option"), "org.apache.spark.scheduler."
    bus = context.listenerBus()
    bus.post(
        spark.named(scheduler + "SparkListenerApplicationStart")(
            name,
            option.apply(context.applicationId()),
            int(time.time() * 1000),
            context.sparkUser(),
            context.applicationAttemptId(),
            option.empty(),
            option.empty(),
        )
    )
    try:
        context.postEnvironmentUpdate()
    except Py4JError:  # Spark 3 keeps it to itself.
        added = context.allAddedJars(), context.allAddedFiles(), context.allAddedArchives()
        details = spark.static("org.apache.spark.SparkEnv$").environmentDetails(
            context.conf(),
            context.hadoopConfiguration(),
            context.getSchedulingMode().toString(),
            *(names.keys().toSeq() for names in added),
            context.env().metricsSystem().metricsProperties(),
        )
        bus.post(spark.named(scheduler + "SparkListenerEnvironmentUpdate")(details))
