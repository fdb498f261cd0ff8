"""Unlearning methods: each a frozen dataclass of hyper-parameters with one verb, `fit`."""
