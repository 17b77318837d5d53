"""Great Expectations over the ingested steps."""
