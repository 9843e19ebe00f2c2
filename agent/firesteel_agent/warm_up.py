"""Has the JVM load and compile what a first query needs, while nobody waits for it. Calls spark.

Nothing of it is seen: it plans a query and compiles its code in a session of its own, and runs no job, so
that the ids of jobs, stages and SQL queries begin as they always do.
"""

from typing import TYPE_CHECKING, Any, Callable

if TYPE_CHECKING:
    from .spark import Spark

QUERY = "SELECT id % 7 AS k, count(*), max(id) FROM range(100) WHERE id > 3 GROUP BY id % 7 ORDER BY k"
"""A scan, a filter, both halves of an aggregate and a sort, each with code of its own."""


def warm_up(spark: "Spark", is_needed: Callable[[], bool] = lambda: True) -> None:
    """Plan a query, and compile its code; between its steps it asks whether that `is_needed` still.

    Blocks: call it on a worker of its own. It raises what py4j raises.
    """
    if spark.has_hive():
        return  # The first query that reads the catalog opens the metastore: that is for users to ask for.
    # Compiled code is kept, and belongs to the class loader it was compiled under: that of cells.
    spark.jvm.java.lang.Thread.currentThread().setContextClassLoader(spark.loader)
    session = spark.session().newSession()
    # An adaptive plan has its code only once it runs.
    session.conf().set("spark.sql.adaptive.enabled", "false")
    execution: Any = session.sql(QUERY).queryExecution()
    for step in (execution.optimizedPlan, execution.executedPlan, lambda: execution.debug().codegenToSeq()):
        if not is_needed():
            return
        step()
