"""The line between the supervisor and a worker: how, in which words, and what a worker is equipped with."""
