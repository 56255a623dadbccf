"""The only place that builds clients and puts the parts together."""
