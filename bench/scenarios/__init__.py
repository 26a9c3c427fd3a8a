"""What can be measured, by name."""

from collections.abc import Awaitable, Callable

from bench.remotes import SETTINGS as WITH_REMOTES
from bench.runner import Bench
from bench.scenarios.attachments import attachments
from bench.scenarios.attacking import SETTINGS as BEHIND_A_PROXY
from bench.scenarios.attacking import flood, timing
from bench.scenarios.bystanding import bystander
from bench.scenarios.ceiling import ceiling
from bench.scenarios.contention import configs, hot
from bench.scenarios.crowding import soak, stampede
from bench.scenarios.duplicates import duplicates
from bench.scenarios.exporting import export
from bench.scenarios.external import dead, external
from bench.scenarios.history import history
from bench.scenarios.process import login, memory, stall
from bench.scenarios.programs import programs
from bench.scenarios.reading import entities, page, pull, sealed
from bench.scenarios.rebuilding import rebuild
from bench.scenarios.seeding import seeding
from bench.scenarios.suite import suite
from bench.scenarios.writing import growth, push, seed

SCENARIOS: dict[str, Callable[[Bench], Awaitable[None]]] = {
    "push": push,
    "growth": growth,
    "pull": pull,
    "page": page,
    "sealed": sealed,
    "login": login,
    "entities": entities,
    "hot": hot,
    "configs": configs,
    "stall": stall,
    "memory": memory,
    "seed": seed,
    "rebuild": rebuild,
    "seeding": seeding,
    "programs": programs,
    "history": history,
    "export": export,
    "attachments": attachments,
    "timing": timing,
    "flood": flood,
    "external": external,
    "dead": dead,
    "ceiling": ceiling,
    "stampede": stampede,
    "soak": soak,
    "duplicates": duplicates,
    "bystander": bystander,
    "suite": suite,
}
HELP = {name: (run.__doc__ or "").splitlines()[0] for name, run in SCENARIOS.items()}

SETTINGS = {
    "external": WITH_REMOTES,
    "dead": WITH_REMOTES,
    "history": {"REQUEST_RATE_LIMIT": "0"},
    "timing": BEHIND_A_PROXY | {"REQUEST_RATE_LIMIT": "0"},
    "flood": BEHIND_A_PROXY | {"LOGIN_RATE_LIMIT": "15"},
}
"""Of the hub that is started for a scenario, where they differ from those for all others."""
