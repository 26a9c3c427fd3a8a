"""Entities: the current state that the events of each group, individual and record give."""
