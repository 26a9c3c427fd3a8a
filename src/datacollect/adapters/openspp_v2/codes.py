"""What can be wrong with a record, a request or a page. Stable; those that the contract names keep its spelling."""

from typing import Final

PUSH_FAILED: Final = "PUSH_FAILED"
PULL_FAILED: Final = "PULL_FAILED"
SEARCH_FAILED: Final = "SEARCH_FAILED"
CR_REJECTED: Final = "CR_REJECTED"
CR_REVISION_NEEDED: Final = "CR_REVISION_NEEDED"
CR_POLL_FAILED: Final = "CR_POLL_FAILED"
CR_PROJECTION_FAILED: Final = "CR_PROJECTION_FAILED"
INVALID_PROGRAM_ID: Final = "INVALID_PROGRAM_ID"
MEMBER_NOT_LINKED: Final = "MEMBER_NOT_LINKED"
MEMBER_TYPE_NOT_SUPPORTED: Final = "MEMBER_TYPE_NOT_SUPPORTED"
