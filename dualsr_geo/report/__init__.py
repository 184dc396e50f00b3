"""The HTML page of a run or of an evaluation."""
