"""What is made for, and compared with, the local AWS's IAM; none of it is needed to run it."""
