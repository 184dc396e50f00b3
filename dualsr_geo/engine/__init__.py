"""A run: options, plan, scene survey, executor, cluster and provenance."""
