"""What stands behind an endpoint: fleets of instances running AWS's inference toolkit, and the routing to them."""
