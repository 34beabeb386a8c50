"""The built-in backends, one module each; modules with a leading underscore are shared by them."""
