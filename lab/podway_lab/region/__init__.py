"""The region: a strict model of EC2, served through moto's server."""
