"""Training of networks: tasks, configuration, the training loop, and references."""
