"""The space language: YAML to spaces and back."""
