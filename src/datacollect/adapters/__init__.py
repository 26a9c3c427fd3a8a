"""Bridges to other systems: registries and workflow engines that a program synchronises with.

An adapter translates: records of ours into calls of the other system, its records into ours. It holds no state, opens no
transaction and knows no tenant. Whoever runs it (`features/external`) keeps the links, the marks and the outcomes.
"""
