"""How often something may be tried, shared by all replicas through PostgreSQL."""
