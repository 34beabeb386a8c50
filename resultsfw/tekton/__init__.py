"""Tekton's API as this project needs it: documents in, pods out, statuses written."""
