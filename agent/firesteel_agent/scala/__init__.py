"""Scala: a REPL in the driver's JVM."""
