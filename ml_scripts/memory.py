"""What a training says when memory was not enough for it."""

from diagnostics.session import PREFIX
from training import Plan

# torch's own words, for a GPU and for the CPU.
NO_MEMORY = ("out of memory", "can't allocate memory")


def out_of_memory(error: Exception, plan: Plan) -> str | None:
    """The sentence to end with where an error says that memory was not enough; None where it says something else.

    It begins as that of a rule does, since the same is done about it: whoever reads it may try less at once.
    """
    said = " ".join(str(error).split())
    if not isinstance(error, MemoryError) and not any(words in said for words in NO_MEMORY):
        return None
    return (
        f"{PREFIX} OutOfMemory: {plan.at_once} of the {plan.batch_size} pictures of a batch at once are too many for "
        f"the memory of this instance: compute it in more parts (--accumulation, {plan.accumulation} now), or choose a "
        f"larger instance; {said[:400]}"
    )
