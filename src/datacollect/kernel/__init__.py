"""Values and rules without I/O: what every other tier may rely on."""
