"""A model test with the real code: clones, a remote, crashes and gc, interleaved at every call of the remote."""
