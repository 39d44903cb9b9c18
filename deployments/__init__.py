"""How Ferry is run: deployments, work pool, service units, set-up."""
