"""The training tasks: which network is trained, on which samples, with which loss."""
