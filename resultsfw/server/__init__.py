"""The results server: keeps what results sidecars deliver over HTTP, once a pod, and hands it out.

Tokens are reviewed by the cluster (`review`), bodies are read within limits (`bodies`), what came is kept in
a folder or an object store (`store`). `api` is what is asked, `process` what runs.
"""
