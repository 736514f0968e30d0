"""How our processes reach the message broker, and look at its queues."""
