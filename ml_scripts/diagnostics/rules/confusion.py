"""AWS: a class is told right less often than ``min_diag``, or is another class's more often than ``max_off_diag``.

Counted on the validation pictures, at the best epoch, once the training is over: the share of a row that is on the
diagonal, the share of a column that is in one place off it, and the diagonal's share of them all. AWS compares what was
counted; ``certainty`` above 0.5 asks how sure the count is, since of five pictures two may be wrong by chance.
"""

from diagnostics.rule import Issue, NotApplicable, rule
from diagnostics.shares import bounds
from diagnostics.statistics import Statistics


@rule(
    "Confusion",
    of_aws=True,
    min_diag=0.9,
    max_off_diag=0.1,
    certainty=0.5,
    here={"min_diag": 0.5, "max_off_diag": 0.5, "certainty": 0.99},
    advice="look at the labels and at the pictures of these classes",
)
def check(seen: Statistics, min_diag: float, max_off_diag: float, certainty: float) -> Issue | None:
    """The diagonal as a whole, then each class."""
    if seen.confusion is None or not seen.finished:
        raise NotApplicable("the training has not reached its end")
    rows, columns = seen.confusion, [list(column) for column in zip(*seen.confusion, strict=True)]
    right, of = sum(row[index] for index, row in enumerate(rows)), sum(map(sum, rows))
    if bounds(right, of, certainty)[1] < min_diag:
        return Issue(_sentence(f"{right} of {of} validation pictures are", min_diag), right / of, min_diag, seen.step)
    sure = 1 - (1 - certainty) / len(rows)
    for index, row in enumerate(rows):
        if sum(row) and bounds(row[index], sum(row), sure)[1] < min_diag:
            told = f"{row[index]} of {sum(row)} validation pictures of class {seen.classes[index]} are"
            return Issue(_sentence(told, min_diag), row[index] / sum(row), min_diag, seen.step)
    for index, column in enumerate(columns):
        for other, count in enumerate(column):
            if other != index and count and bounds(count, sum(column), sure)[0] > max_off_diag:
                return Issue(
                    f"{count} of {sum(column)} validation pictures that are taken for {seen.classes[index]} are of "
                    f"class {seen.classes[other]}, more than {max_off_diag:g} of them",
                    count / sum(column),
                    max_off_diag,
                    seen.step,
                )
    return None


def _sentence(told: str, least: float) -> str:
    return f"{told} told right, less than {least:g} of them"
