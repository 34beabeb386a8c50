"""Signs what the results sidecar delivers, with the pod's own SPIFFE identity.

`statement` and `dsse` are the format, with the standard library only: verifiers import them, too. The other
modules run in the pod: `signer` is what the sidecar calls where `RESULTSFW_SIGNING` is set, `transport` signs
in a container of its own what another backend delivers, `identity` fetches the pod's certificate, and
`tekton_keys` makes the keys that Tekton's verifiers read.
"""
