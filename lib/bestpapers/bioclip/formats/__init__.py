"""The real formats of BioCLIP: read, check, write.

Photographs       a folder per class, or a table with a row per photograph, as the authors' evaluation reads it
Shards            tar files of the webdataset library with an image and ten texts per sample, as TreeOfLife-10M has them
Weights           open_clip_config.json and open_clip_model.safetensors (or the older open_clip_pytorch_model.bin), in a
                  folder or on the Hugging Face Hub
Label embeddings  the pair of .npy and .json that pybioclip keeps

Whatever a file holds, a reader returns a checked result or raises FormatError, which names the file, the field, what was
expected and what was found. Where single photographs or samples may be bad, `skips=Skips()` counts them instead. Nothing is
unpickled, nothing is unpacked to disk, and no path in a file leads out of its folder.
"""

from ...lab.files import FormatError, Skips
from .labels import LabelEmbeddings, fetch_label_embeddings, load_label_embeddings, save_label_embeddings
from .photos import Photo, read_photos
from .shards import Batch, Sample, batches, find_shards, read_shards, text_type, write_shards
from .weights import load, save_local, squash

__all__ = [
    "Batch",
    "FormatError",
    "LabelEmbeddings",
    "Photo",
    "Sample",
    "Skips",
    "batches",
    "fetch_label_embeddings",
    "find_shards",
    "load",
    "load_label_embeddings",
    "read_photos",
    "read_shards",
    "save_label_embeddings",
    "save_local",
    "squash",
    "text_type",
    "write_shards",
]
