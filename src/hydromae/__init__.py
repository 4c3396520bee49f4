"""hydromae: a pre-trained, multi-modal masked autoencoder for a country's water."""

__version__ = "0.1.0"
