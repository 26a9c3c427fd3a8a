"""Contract suites and small real implementations for tests, shipped for authors of adapters."""
