"""Shapes on the wire: what AWS, the store, the agents and the operators say. Each is validated here, once.

Called by the handlers, the adapters, the command and the agent.
"""
