"""One service, or one step of the journey, against real PostgreSQL and real RabbitMQ."""
