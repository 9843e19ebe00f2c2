"""Reads requests of OTLP over HTTP, with the Python of .venv/airflow: `otlp_judge.py FILE...` prints their
spans as JSON."""

import json
import sys
from pathlib import Path

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

KINDS = {1: "internal", 2: "server"}


def plain(attributes):
    """Attributes as a dictionary; a key that is there twice is an error."""
    found = {}
    for attribute in attributes:
        assert attribute.key not in found, attribute.key
        found[attribute.key] = getattr(attribute.value, attribute.value.WhichOneof("value"))
    return found


def spans(request):
    """The spans of a request."""
    for resource in request.resource_spans:
        for scope in resource.scope_spans:
            for span in scope.spans:
                yield {
                    "trace": span.trace_id.hex(),
                    "id": span.span_id.hex(),
                    "parent": span.parent_span_id.hex(),
                    "name": span.name,
                    "kind": KINDS[span.kind],
                    "start": span.start_time_unix_nano,
                    "end": span.end_time_unix_nano,
                    "attributes": plain(span.attributes),
                    "events": [event.name for event in span.events],
                    "failed": span.status.code == 2,
                    "words": span.status.message,
                    "resource": plain(resource.resource.attributes),
                }


def main():
    """Print them."""
    found = []
    for path in sys.argv[1:]:
        request = ExportTraceServiceRequest()
        request.ParseFromString(Path(path).read_bytes())
        found += spans(request)
    print(json.dumps(found))


main()
