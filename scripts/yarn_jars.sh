#!/bin/sh
# yarn_jars.sh: puts YARN's ResourceManager and NodeManager with all that they need into .cache/yarn, once, with the content that is
# pinned here. Says where.
set -eu
cd "$(dirname "$0")/.."
plugin=org.apache.maven.plugins:maven-dependency-plugin:3.8.1
version=3.4.1
pinned=2f24d1289405148db5924d385aa2c037608b9ca341e55877ca3b679f00b488ee
lib=.cache/yarn/lib
mkdir -p .cache/yarn
exec 9>.cache/yarn/lock
flock 9
content() {
    (cd "$lib" 2>/dev/null && LC_ALL=C && export LC_ALL && sha256sum -- *.jar | sha256sum | cut -d ' ' -f 1) || true
}
if [ "$(content)" != "$pinned" ]; then
    scripts/need.sh maven
    rm -rf "$lib"
    {
        echo '<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>'
        echo '<groupId>firesteel.tests</groupId><artifactId>yarn</artifactId><version>1</version><packaging>pom</packaging>'
        echo '<dependencies>'
        for name in hadoop-yarn-server-resourcemanager hadoop-yarn-server-nodemanager hadoop-yarn-server-timelineservice \
            hadoop-common hadoop-auth; do
            echo "<dependency><groupId>org.apache.hadoop</groupId><artifactId>$name</artifactId><version>$version</version></dependency>"
        done
        echo '</dependencies></project>'
    } >.cache/yarn/pom.xml
    mvn --batch-mode --quiet --file .cache/yarn/pom.xml "$plugin:copy-dependencies" -DincludeScope=runtime \
        "-DoutputDirectory=$PWD/$lib" >&2
    [ "$(content)" = "$pinned" ] || {
        echo "YARN's jars in $lib are not those that are pinned: $(content)" >&2
        exit 1
    }
fi
echo "$PWD/$lib"
