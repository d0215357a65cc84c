"""Components as a package beside insight adds them, for tests. Nothing of insight's names them."""
