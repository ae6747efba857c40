"""A tree of draws as the bytes of a NetCDF file, chunked and compressed."""

from __future__ import annotations

import io
from typing import Any

import h5netcdf
import xarray as xr
from xarray.backends import H5NetCDFStore

LARGE = 2**20  # bytes of an array that is worth compressing
MOST_IN_CHUNK = 1_000  # of any dim


def netcdf_bytes(tree: xr.DataTree) -> bytes:
    """What `xarray.DataTree.to_netcdf` writes, without Dask's scheduler, which it imports (0.3 s).

    Parameters
    ----------
    tree : xarray.DataTree
        In memory.

    Returns
    -------
    bytes
        Of a file in memory: where the disk is full, HDF5 prints tracebacks of its own and may
        crash.
    """
    encoding = compression(tree)
    buffer = io.BytesIO()
    with h5netcdf.File(buffer, "w") as file:
        root = H5NetCDFStore(file)
        for node in tree.subtree:
            store = root if node is tree else root.get_child_store(node.path)
            own = node.to_dataset(inherit=node is tree)
            own.dump_to_store(store, encoding=encoding.get(node.path))
    return buffer.getvalue()


def compression(tree: xr.DataTree) -> dict[str, dict[str, dict[str, Any]]]:
    """How NetCDF keeps large arrays: in chunks of one chain, compressed without loss.

    Parameters
    ----------
    tree : xarray.DataTree

    Returns
    -------
    dict
        Encoding by group and variable, for those of `LARGE` bytes or more.
    """
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for node in tree.subtree:
        for name, values in node.data_vars.items():
            if values.nbytes >= LARGE and values.dtype.kind in "fi":
                chunks = tuple(
                    1 if dim == "chain" else min(size, MOST_IN_CHUNK)
                    for dim, size in zip(values.dims, values.shape, strict=True)
                )
                own = {"compression": "gzip", "compression_opts": 1, "shuffle": True}
                found.setdefault(node.path, {})[str(name)] = own | {"chunksizes": chunks}
    return found
