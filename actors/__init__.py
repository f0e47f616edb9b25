"""Ray actors, each a thin shell around one runner: what decides is below, in `protocol` and `storage`."""
