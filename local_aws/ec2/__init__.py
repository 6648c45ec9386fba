"""EC2: instances that are real hosts. Moto keeps the records; what has a life is here."""
