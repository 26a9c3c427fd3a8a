"""The sync rules under seeded schedules: real core, real store, simulated devices, clocks, interleavings and crashes."""
