"""What the tests of the upper floors share: a proxy that runs in a thread, and peers scripted by hand."""
