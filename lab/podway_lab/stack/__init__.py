"""The deployed stack in the lab: what ``template.yaml`` declares, stood up and driven by its own rules."""
