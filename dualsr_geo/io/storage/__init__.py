"""Files and objects: URLs, object stores and the work directory of a run."""
