"""The adapters that come with the hub, in the order in which they are offered."""

from collections.abc import Sequence

from datacollect.adapters import mock, openfn, openspp_v1, openspp_v2
from datacollect.adapters.kinds import AdapterKind

BUILT_IN: Sequence[AdapterKind] = (mock.KIND, openspp_v1.KIND, openspp_v2.KIND, openfn.KIND)
