"""What a run will cost, checked before anything is launched."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from airflow.providers.amazon.aws.utils.mixins import aws_template_fields

from musher import record
from musher.config import DeploymentConfig
from musher.costs import projection
from musher.operators.base import MusherOperator, comparison_config, deployment_config, plainly, run_of, training_config
from musher.record import ProjectedCosts, Projection

if TYPE_CHECKING:
    from airflow.sdk import Context


class CheckProjectedCostOperator(MusherOperator):
    """Project the run's cost, and end the run without retries when it is above `max_cost_usd`.

    Parameters: `what` "training", "deployment" or "comparison"; `rehearsal`, for a deployment, what PlanReleaseOperator
    returned as that. Writes the part `projected_costs`; returns the projection.
    """

    template_fields = aws_template_fields("rehearsal")

    def __init__(
        self, *, what: Literal["training", "deployment", "comparison"], rehearsal: Any = None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.what = what
        self.rehearsal = rehearsal

    @plainly
    def execute(self, context: Context) -> dict[str, Any]:
        s3, bucket = self.client("s3"), self.environment.bucket
        if self.what == "comparison":
            compared = comparison_config(context)
            projected = projection.comparison(compared)
            return check_projection(self, context, self.what, projected, compared.max_cost_usd, self.what).to_json()
        given = {"training": training_config, "deployment": deployment_config}[self.what](context)
        earlier = projection.earlier_run(s3, bucket, given)
        if isinstance(given, DeploymentConfig):
            planned = record.Rehearsal.from_json(self.rehearsal) if self.rehearsal else None
            projected = projection.deployment(given, earlier, planned)
        else:
            projected = projection.training(given, earlier)
        return check_projection(self, context, self.what, projected, given.max_cost_usd, self.what).to_json()


def check_projection(
    operator: MusherOperator,
    context: Context,
    what: str,
    projected: Projection,
    max_cost_usd: float,
    words: str,
) -> Projection:
    """Write and log the projection of `what`; returned with what is allowed. Raises CostError when it costs more.

    Parameters: `words` what a message calls it.
    """
    found = projected.replace(max_cost_usd=max_cost_usd)
    operator.write_part(run_of(context).key, ProjectedCosts(**{what: found}))
    operator.log.info(
        "This %s is projected to cost %.4f USD, at worst %.4f (%s); %.2f are allowed",
        words,
        found.projected_usd,
        found.worst_case_usd,
        found.basis,
        max_cost_usd,
    )
    if found.afterwards_per_month_usd is not None:
        operator.log.info("What stands afterwards costs %.2f USD a month", found.afterwards_per_month_usd)
    projection.check(found, max_cost_usd, f"this {words}")
    return found
