"""A training on an EC2 instance: the connection to it, the detached job on it, and which instances it has had."""
