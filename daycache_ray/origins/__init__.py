"""Where values come from when the cache lacks them: loaders and databases. Refuses to know the cache."""
