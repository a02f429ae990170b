"""The socket between a device's nodes and its engine process: framed JSON, token ids only, no pickle, no torch."""

from workers.wire.frames import Buffer, pack
from workers.wire.link import Link
from workers.wire.messages import Hello, Pulse
from workers.wire.server import Decoder, Server

__all__ = ["Buffer", "Decoder", "Hello", "Link", "Pulse", "Server", "pack"]
