"""The stack in the lab: installs what ``template.yaml`` declares, and drives it by its own rules."""
