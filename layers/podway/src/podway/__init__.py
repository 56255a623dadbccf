"""Podway: overlay-free pod networking on EC2 over aggregated VPC routes."""
