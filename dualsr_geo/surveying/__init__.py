"""What is estimated once for a whole scene, from a bounded sample."""
