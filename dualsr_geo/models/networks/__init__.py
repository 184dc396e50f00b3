"""The published networks, one file each: DualSR's coarse stage, SFPN's coarse and fine ones."""
