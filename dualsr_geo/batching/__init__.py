"""Many scenes: discovery, guide matching, tasks, journal and STAC."""
