"""Ray Serve applications: doors to a cluster. They hold no state of their own."""
