"""The results server: store what results sidecars deliver over HTTP, once per pod, and serve it.

The API server authenticates tokens (`review`), bodies are read within limits (`body_capacity`), results are
stored in a folder or an object store (`store`). `api` has the endpoints, `service` what they share, and
`process` runs them.
"""
