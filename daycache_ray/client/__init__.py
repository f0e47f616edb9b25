"""What users hold: caches, regions, their asyncio twins, orchestrator and optimizer. Imports no actor."""
