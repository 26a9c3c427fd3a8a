"""Why a job fails, when its own steps do not say."""

from datacollect.kernel.errors import Conflict, DataCollectError, InvalidRequest, NotFound


class JobFailed(DataCollectError):
    """A step of the job failed."""

    code = "JOB_FAILED"
    help = "The log says where (`job.step_failed`); report it if it comes again."


class JobTimedOut(DataCollectError):
    """A step of the job took longer than a lease."""

    code = "JOB_TIMED_OUT"
    help = "See what the database is busy with, or raise `JOB_LEASE`."


class JobAbandoned(DataCollectError):
    """The processes that worked on the job ended in the middle of it."""

    code = "JOB_ABANDONED"
    help = "See why they ended: too little memory is the usual reason."


class Unrecoverable(DataCollectError):
    """The job cannot succeed however often it is tried."""

    code = "JOB_UNRECOVERABLE"
    help = "Correct what its kind needs, and start it again."


class JobCallTimedOut(DataCollectError):
    """The other system did not answer in the time that a call may take."""

    code = "JOB_CALL_TIMED_OUT"
    help = "See whether the other system is up and quick enough; it is asked again later."


class JobDeadlinePassed(DataCollectError):
    """The job was not done by the time until which it was worth doing."""

    code = "JOB_DEADLINE_PASSED"
    help = "See what held it up (`job.step_failed` in the log), and start it again."


class JobNotFound(NotFound):
    """There is no such job. Those that have ended are kept for two weeks."""

    code = "JOB_NOT_FOUND"
    help = "Check the id; `datacollect jobs list` lists the jobs."


class JobNotActive(Conflict):
    """The job has ended already."""

    code = "JOB_NOT_ACTIVE"
    help = "There is nothing to call off."


class JobNotRetryable(Conflict):
    """Only jobs that were given up can be put in line again."""

    code = "JOB_NOT_RETRYABLE"
    help = "See the job's state; start a new one in the way that one was started."


class JobReplaced(Conflict):
    """Another job is about the same already."""

    code = "JOB_REPLACED"
    help = "Wait for the other one, or call it off first."


class InvalidJobCursor(InvalidRequest):
    """That is not where a page of jobs ends."""

    code = "INVALID_JOB_CURSOR"
    help = "Send the cursor as the page before told it, or none."


class CallFailed(Exception):
    """Raised by a handler to say why it failed, in a code of its own (UPPER_SNAKE, never a text of others)."""

    def __init__(self, code: str, *, retry_after_seconds: float | None = None, is_final: bool = False) -> None:
        self.code = code
        self.retry_after_seconds = retry_after_seconds
        self.is_final = is_final
        """It cannot succeed however often it is tried."""
        super().__init__(code)


class LeaseLost(Exception):
    """Raised inside a step's transaction, so that nothing of it stays: somebody else has the job now, or it is over."""
