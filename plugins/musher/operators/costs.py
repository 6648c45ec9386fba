"""What a run will cost, checked before anything is launched."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from musher.config import ComparisonConfig, DeploymentConfig, TrainingConfig
from musher.costs import projection
from musher.operators.base import MusherOperator, plainly, run_of
from musher.record import ProjectedCosts, Projection

if TYPE_CHECKING:
    from airflow.sdk import Context


class CheckProjectedCostOperator(MusherOperator):
    """Project the run's cost, and end the run without retries when it is above `max_cost_usd`.

    Parameters: `what` "training", "deployment" or "comparison". Writes the part `projected_costs`; returns the
    projection.
    """

    def __init__(self, *, what: Literal["training", "deployment", "comparison"], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.what = what

    @plainly
    def execute(self, context: Context) -> dict[str, Any]:
        params, s3, bucket = dict(context["params"]), self.client("s3"), self.environment.bucket
        if self.what == "comparison":
            compared = ComparisonConfig.from_params(params)
            projected = projection.comparison(compared)
            return check_projection(self, context, self.what, projected, compared.max_cost_usd, self.what).to_json()
        config, project = {
            "training": (TrainingConfig, projection.training),
            "deployment": (DeploymentConfig, projection.deployment),
        }[self.what]
        given = config.from_params(params)
        earlier = projection.earlier_run(s3, bucket, given)
        projected = project(given, earlier)
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
