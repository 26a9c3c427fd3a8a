"""Reviews: what has been submitted, and waits for somebody's word before it is applied."""
