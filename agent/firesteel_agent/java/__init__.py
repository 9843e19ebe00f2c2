"""Java's and Scala's programmatic jobs, which come in Kryo's form."""
