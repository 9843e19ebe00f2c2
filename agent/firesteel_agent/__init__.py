"""The agent of a Spark driver: it makes the SparkContext, dials the server, and owns the interpreters.

No user code runs in this process. It uses the standard library and py4j, which Spark ships, and nothing else.
"""

VERSION = "0.1.0"
