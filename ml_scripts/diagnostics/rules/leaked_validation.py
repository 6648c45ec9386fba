"""Not one of AWS's: validation pictures that are training pictures as well, byte for byte.

Such a validation loss is better than the model is, and every other rule believes it.
"""

from diagnostics.rule import Issue, NotApplicable, rule
from diagnostics.statistics import Statistics


@rule("LeakedValidation", most_leaked=0, advice="take these files out of the training pictures")
def check(seen: Statistics, most_leaked: int) -> Issue | None:
    """The validation pictures that the training has seen."""
    if seen.leaked is None:
        raise NotApplicable("the files were not compared")
    if len(seen.leaked) <= most_leaked:
        return None
    return Issue(
        f"{len(seen.leaked)} validation pictures are training pictures, too, such as {seen.leaked[0]}; "
        f"at most {most_leaked} may be",
        len(seen.leaked),
        most_leaked,
        0,
    )
