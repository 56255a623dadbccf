"""The deployed lab: `sam build`, `sam deploy` into the region, the functions under Lambda's own runtime."""
