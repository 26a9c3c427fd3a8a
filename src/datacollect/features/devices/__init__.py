"""What is known of the devices that sync: when, how much, how their clocks are set, and which are shut out."""
