"""The extensions that come along, one file each; off unless the feature flag ``extensions`` names them."""
