"""What lists and the search refuse."""

from datacollect.kernel.errors import InvalidPayload, InvalidRequest, TookTooLong


class InvalidListParameter(InvalidRequest):
    """A parameter of the list cannot be read; `parameter` names it."""

    code = "INVALID_LIST_PARAMETER"
    help = "Correct or leave out the parameter that `parameter` names."

    def __init__(self, parameter: str, problem: str) -> None:
        super().__init__(f"{parameter}: {problem}", parameter=parameter)


class InvalidCriteria(InvalidRequest):
    """Invalid criteria: must be an array with at most 10 items"""

    code = "INVALID_CRITERIA"
    help = "Correct the criterion as the message says."


class InvalidSearch(InvalidPayload):
    """The body of a search must be an object."""

    code = "INVALID_SEARCH"
    help = "Send an object with `configId`, `criteria` and `limit`."


class InvalidSearchParameter(InvalidListParameter):
    """A member of the search cannot be read; `parameter` names it."""


class SearchTooSlow(TookTooLong):
    """The search was stopped: it took longer than a search may."""

    code = "SEARCH_TOO_SLOW"
    help = "Add a criterion that fewer entities meet, best one on an indexed field, or ask for fewer rows."
