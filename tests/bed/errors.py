"""The one error of the test bed: whatever keeps a control plane from coming up, in a sentence for a person."""


class BedError(Exception):
    """The test bed cannot be built or started; the message says why and what to do about it."""
