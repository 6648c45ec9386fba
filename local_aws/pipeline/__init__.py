"""The one way that every call takes through the local AWS, S3 and the hot data-plane operations included.

identify -> authenticate -> decode -> parse -> validate -> resources -> authorise -> dispatch

Each stage is a file. `gateway.py` walks them in this order; what depends on the operation alone is worked out at its
first call (`plan.py`). A stage that raises AwsError ends the call: the error goes out in the service's own form.
"""

STAGES = ("identify", "authenticate", "decode", "parse", "validate", "resources", "authorise", "dispatch")
