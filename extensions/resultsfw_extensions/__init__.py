"""Built-in extensions, one file each; off unless the feature flag ``extensions`` names them."""
