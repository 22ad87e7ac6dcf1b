"""The service is killed between any two steps, and goes on as if nothing had been."""
