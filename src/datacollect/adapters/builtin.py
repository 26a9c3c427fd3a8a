"""The adapters that come with the hub, in the order in which they are offered."""

from collections.abc import Sequence

from datacollect.adapters.kinds import AdapterKind
from datacollect.adapters.mock import KIND as MOCK
from datacollect.adapters.openfn import KIND as OPENFN

BUILT_IN: Sequence[AdapterKind] = (MOCK, OPENFN)
