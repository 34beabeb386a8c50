"""Manifests in files: read, completed by options, checked as by Tekton's webhook; and the flags in them."""
