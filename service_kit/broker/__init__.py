"""Connect to RabbitMQ and read the depth of its queues; knows no HTTP and no database."""
