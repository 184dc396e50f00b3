"""What a run records: log, summary and provenance."""
