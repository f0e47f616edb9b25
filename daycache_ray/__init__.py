"""DayCache: a distributed cache for Python services on Ray."""
