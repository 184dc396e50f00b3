"""One tile as a pure function of its windows, the survey and the model."""
