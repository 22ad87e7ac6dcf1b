"""What may happen to a payment, and how it is carried to the end. Knows PostgreSQL and nothing else."""
