"""The ports over AWS: the only room that knows AWS's spelling and error codes. `bootstrap` builds them."""
