"""The region: a strict model of EC2, and moto for everything around it, on HTTP."""
