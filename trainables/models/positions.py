"""The grid of a vision transformer's position embeddings, and its resizing.

B batch, T tokens, D feature dimension, H rows, W columns.
"""

import math
from collections.abc import Callable

import torch
from timm.layers import resample_abs_pos_embed
from torch import Tensor, nn
from torch.nn import functional

from shards_tools.errors import Error

Grid = tuple[int, int]  # rows, columns
Resize = Callable[[Tensor, Grid, Grid], Tensor]  # positions B x T x D, their grid, the grid to resize them to
TALLEST = 4  # rows per column of the tallest grid


def resize_bilinear(positions_BTD: Tensor, old: Grid, new: Grid, *, corner_aligned: bool) -> Tensor:
    """Resize without antialiasing, as TransReID does, or with aligned corners, as Animesion does; keep prefix tokens.

    Args:
        positions_BTD: prefix tokens, then the grid row by row.
        old: the grid of the positions.
        new: the grid to resize to.
        corner_aligned: as `scipy.ndimage.zoom` of order 1 does.
    """
    num_prefix = positions_BTD.shape[1] - old[0] * old[1]
    prefix_BTD, places_BTD = positions_BTD[:, :num_prefix], positions_BTD[:, num_prefix:]
    map_BDHW = places_BTD.transpose(1, 2).reshape(len(places_BTD), -1, *old)
    if old != new:
        map_BDHW = functional.interpolate(map_BDHW.float(), new, mode="bilinear", align_corners=corner_aligned)
    return torch.cat([prefix_BTD, map_BDHW.flatten(2).transpose(1, 2).to(prefix_BTD.dtype)], dim=1)


def resize_as_timm(positions_BTD: Tensor, old: Grid, new: Grid) -> Tensor:
    """Resize bicubically with antialiasing; keep prefix tokens."""
    num_prefix = positions_BTD.shape[1] - old[0] * old[1]
    resized_BTD: Tensor = resample_abs_pos_embed(
        positions_BTD, list(new), list(old), num_prefix_tokens=num_prefix, verbose=False
    )
    return resized_BTD


def grid_of(num_places: int) -> Grid | None:
    """Return the grid of this many position embeddings, or None if no image has such a grid.

    A square if there is one; otherwise, the grid nearest to two rows per column, the usual shape in
    re-identification (256 x 128 px), and the taller of two equally near ones (24 x 8 of 384 x 128 px).
    """
    side = math.isqrt(max(num_places, 0))
    if side and side * side == num_places:
        return side, side
    upright = [(rows, num_places // rows) for rows in range(side + 1, num_places + 1) if num_places % rows == 0]
    usual = min(upright, key=lambda grid: (_distance_from_two(*grid), -grid[0]), default=None)
    return usual if usual and usual[0] <= TALLEST * usual[1] else None


def patch_grid(network: nn.Module) -> Grid | None:
    """Return the grid of a network's patches, or None if it has none."""
    grid = getattr(getattr(network, "patch_embed", None), "grid_size", None)
    return (int(grid[0]), int(grid[1])) if grid else None


def fit_positions(
    states: dict[str, Tensor], network: nn.Module, resize: Resize, stored: Grid | None = None
) -> tuple[dict[str, Tensor], str]:
    """Return the weights with position embeddings for the network's grid, and the resizing in words; "" if none.

    Args:
        states: the weights, with timm's names.
        network: its grid decides.
        resize: resizes position embeddings.
        stored: the grid that the file records, if it does.

    Raises:
        Error: the file's position embeddings form no grid, or belong to a network without a class token.
    """
    own, found = getattr(network, "pos_embed", None), states.get("pos_embed")
    new = patch_grid(network)
    if own is None or found is None or new is None or own.ndim != 3 or found.ndim != 3:
        return states, ""
    num_prefix = own.shape[1] - new[0] * new[1]
    num_places = found.shape[1] - num_prefix
    old = _grid_in_file(num_places, new, stored)
    if old == new or found.shape[2] != own.shape[2] or num_prefix < 0:
        return states, ""
    if num_prefix and "cls_token" not in states:
        raise Error("has no class token, but this network reads one. Use weights of a network with a class token.")
    if old is None:
        raise Error(f"has {num_places} position embeddings, which form no grid. Use the weights of this backbone.")
    resized = {**states, "pos_embed": resize(found, old, new)}
    return resized, f"pos_embed from {old[0]} x {old[1]} to {new[0]} x {new[1]}"


def _grid_in_file(num_places: int, own: Grid, stored: Grid | None) -> Grid | None:
    """Return the grid of a file's position embeddings, or None if they form none.

    A number that forms a square is one, also if the network's own grid has as many places: public weights are square.
    """
    if stored and math.prod(stored) == num_places:
        return stored
    usual = grid_of(num_places)
    is_own = num_places == math.prod(own) and (usual is None or usual[0] != usual[1])
    return own if is_own else usual


def _distance_from_two(rows: int, columns: int) -> float:
    return max(rows, 2 * columns) / min(rows, 2 * columns)
