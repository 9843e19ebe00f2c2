"""SQL: statements that the JVM runs."""
