"""What the adapters of the hub say went wrong, each with what to do. A code never changes its meaning.

They are told with records and runs, not answered with a status. Adapters of packages may have codes of their own.
"""

from collections.abc import Mapping

FAILURE_CODES: Mapping[str, str] = {
    "NOT_INITIALIZED": "Correct the options that the message names.",
    "PUSH_FAILED": "See the message. What is temporary is tried by the next run; a refused record, when it has changed.",
    "PUSH_BATCH_FAILED": "As `PUSH_FAILED`, for all records of the batch.",
    "CONFLICT": "Others change the record there all the time; the next run tries again.",
    "MEMBER_NOT_LINKED": "Nothing: the group's members are put in once they are there.",
    "MEMBER_TYPE_NOT_SUPPORTED": "Nothing: the other system knows no such members.",
    "TWIN_TAKEN": "The record there that bears its id is another entity's twin: two entities are one person. Merge or delete one.",
    "TWIN_AMBIGUOUS": "Several records there claim to be this one. Merge them there.",
    "PULL_FETCH_FAILED": "See the message; the next run goes on where this one ended.",
    "SEARCH_FAILED": "As `PULL_FETCH_FAILED`.",
    "PULL_PERSONS_FAILED": "As `PULL_FETCH_FAILED`.",
    "PULL_GROUPS_FAILED": "As `PULL_FETCH_FAILED`.",
    "PULL_FAILED": "One record of the other system could not be read. Look at it there.",
    "PULL_TRANSFORM_FAILED": "As `PULL_FAILED`.",
    "PULL_APPLY_FAILED": "As `PULL_FAILED`.",
    "PULL_PERSON_FAILED": "As `PULL_FAILED`.",
    "PULL_GROUP_FAILED": "As `PULL_FAILED`.",
    "CR_REVISION_NEEDED": "Look at the change request in the registry: it was rejected, or is to be revised.",
    "CR_REJECTED": "The registry's reviewers have rejected it; `message` says which request.",
    "CR_POLL_FAILED": "Nothing: it is asked again by the next run.",
    "CR_PROJECTION_FAILED": "Nothing: it is tried again by the next run.",
    "INVALID_PROGRAM_ID": "The enrolment names no program of the registry. Correct it in the record.",
}
