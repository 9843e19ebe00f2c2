"""Every conf key that a Spark knows, asked of that Spark itself: run by its Python, it prints JSON.

`keys`: key -> what Spark says of it, from its registry of entries and from the texts in its classes.
`names`: key -> its other names.
"""

import json
import re
import struct
import sys
import zipfile
from pathlib import Path

# A text in a class file: a byte that says so, its length, the text.
TEXT = re.compile(rb"\x01(..)(spark\.[A-Za-z0-9_.]*[A-Za-z0-9_])", re.DOTALL)
# Large ones that declare none.
WITHOUT_KEYS = {
    "spark-graphx",
    "spark-mllib",
    "spark-mllib-local",
    "spark-sketch",
    "spark-variant",
    "spark-unsafe",
}
BUILDER = b"internal/config/ConfigBuilder"


def scan(jars: Path) -> tuple[list[str], set[str]]:
    """The objects that may declare keys, and the texts that look like keys."""
    objects, texts = [], set()
    for jar in sorted(jars.glob("spark-*.jar")):
        if jar.name.split("_")[0] in WITHOUT_KEYS:
            continue
        with zipfile.ZipFile(jar) as classes:
            for name in classes.namelist():
                if not name.endswith(".class"):
                    continue
                data = classes.read(name)
                for length, text in TEXT.findall(data):
                    if struct.unpack(">H", length)[0] == len(text):
                        texts.add(text.decode())
                if name.endswith("$.class") and BUILDER in data:
                    objects.append(name.removesuffix(".class").replace("/", "."))
    return objects, texts


def main() -> None:
    import pyspark
    from pyspark.java_gateway import launch_gateway

    jars = Path(pyspark.__file__).parent / "jars"
    objects, texts = scan(jars)
    gateway = launch_gateway()
    jvm = gateway.jvm
    loader = jvm.java.lang.Thread.currentThread().getContextClassLoader()
    for name in objects:
        try:
            jvm.java.lang.Class.forName(name, True, loader)
        except Exception as error:
            # One that needs what is not here (a Hadoop class, a Hive one) declares no key of this Spark.
            print(f"{name}: {str(error)[:200]}", file=sys.stderr)

    def static(name: str, field: str) -> object:
        fields = jvm.java.lang.Class.forName(name, True, loader).getDeclaredFields()
        # Scala gives one that a companion reads a longer name.
        (found,) = [one for one in fields if one.getName().split("$")[-1] == field]
        found.setAccessible(True)
        (module,) = [one for one in fields if one.getName() == "MODULE$"]
        return found.get(module.get(None))

    known = static("org.apache.spark.internal.config.ConfigEntry$", "knownConfigs")
    keys = dict.fromkeys(texts, "")
    names = {}
    for entry in known.values():
        key = entry.key()
        keys[key] = entry.doc()
        others = entry.alternatives().mkString(" ").split()
        if others:
            names.setdefault(key, []).extend(others)
    for line in static("org.apache.spark.SparkConf$", "configsWithAlternatives").mkString("\n").split("\n"):
        key, found, others = line.strip("()").partition(" -> ")
        if not found:
            key, _, others = line.strip("()").partition(",")
        names.setdefault(key, []).extend(re.findall(r"AlternateConfig\(([^,]+),", others))
    print(json.dumps({"keys": keys, "names": {key: sorted(set(others)) for key, others in names.items()}}))
    gateway.shutdown()


if __name__ == "__main__":
    main()
