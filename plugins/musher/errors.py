"""Errors whose message is written for the person who started the run: one sentence, no traceback needed."""


class UserError(ValueError):
    """Something a person gave or set up is wrong; the message names it, its value and what would be right.

    Trying again without a change cannot help, so operators turn it into `AirflowFailException` (no retries).
    """


class ConfigError(UserError):
    """A field of the configuration, the Airflow Variable `musher` or the price table."""


class DatasetError(UserError):
    """The data set a person gave: not reachable, not safe to unpack, or not laid out as it has to be."""


class StagingError(UserError):
    """Something a job needs beside the data set: the code archive, a vendored package, a pretrained backbone."""


class CostError(UserError):
    """A run that would cost more than it may; nothing was launched."""


class UnreachableError(RuntimeError):
    """AWS did not answer, so that nothing is known of what was asked; trying again is safe, and may help."""


class TransferError(RuntimeError):
    """Something could not be sent or removed this time; trying again is safe, and may help."""
