"""What schemathesis must know of HTTP beyond the document: unknown headers are
not refused, as clients and proxies add their own."""

import schemathesis


@schemathesis.hook
def filter_case(_, case):
    return "x-schemathesis-unknown-property" not in (case.headers or {})
