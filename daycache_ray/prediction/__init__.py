"""Learning what is asked for next: features, network, training. Never on the path of a read."""
