#!/bin/sh
# livy_jars.sh: puts Livy's own client jars into .cache/livy, once, each with the content that is pinned here.
set -eu
cd "$(dirname "$0")/.."
plugin=org.apache.maven.plugins:maven-dependency-plugin:3.8.1
version=0.7.1-incubating
mkdir -p .cache/livy
exec 9>.cache/livy/lock
flock 9
while read -r sum name; do
    jar=$name-$version.jar
    if ! echo "$sum  .cache/livy/$jar" | sha256sum --check --status 2>/dev/null; then
        scripts/need.sh maven
        mvn --batch-mode --quiet "$plugin:copy" "-Dartifact=org.apache.livy:$name:$version" \
            -DoutputDirectory=.cache/livy -Dmdep.overWriteReleases=true >&2
        echo "$sum  .cache/livy/$jar" | sha256sum --check --quiet >&2
    fi
    echo "$PWD/.cache/livy/$jar"
done <<END
e8c60c5724818a7c12b2249943c6a9361edd385895a9a986ab936386cc8817f4 livy-api
548bb8e752dde7090b3a8029b373814ba71e1759582c705e57929fbdb47337ce livy-rsc
358c694bf32e419d54462f1f1b83ba04584e1bc67180a164dedb3971b8a92fd8 livy-client-http
END
