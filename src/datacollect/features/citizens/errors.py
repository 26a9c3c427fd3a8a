"""What citizens are refused with. Nothing here tells whether anybody has a record."""

from datacollect.kernel.errors import Forbidden


class SelfServiceDisabled(Forbidden):
    """Self-service is not enabled for this tenant"""

    # The same for a program that is not there, that is archived, and that offers other ways to sign in.
    code = "SELF_SERVICE_DISABLED"
    help = "Ask the program how to sign in; an administrator can set `selfService` in its config."
