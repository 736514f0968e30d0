"""What tests share: servers, databases, builders, waiting, a proxy that cuts, processes."""
