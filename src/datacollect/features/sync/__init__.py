"""Push and pull of events: what devices do all day.

`routes.py` has both from the request to the answer. `service.py` decides about a push and reads a pull, `payload.py` makes events
of JSON, `parts.py` and `places.py` read for devices that hold a part of a program, `answering.py` writes the answer.
"""
