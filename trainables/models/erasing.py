"""Random erasing as in the code of AGW and LSASRD.

B batch, C channels, H height, W width.
"""

import math

import numpy as np
from torch import Tensor

AREA = (0.02, 0.4)  # fraction of the image
ASPECT = (0.3, 1 / 0.3)  # height / width, uniform and not log-uniform
# what the code writes into normalized pixels: ImageNet's mean color, as if the pixels were not normalized
FILL = (0.485, 0.456, 0.406)
MAX_TRIES = 100


def erase_as_agw(pixels_BCHW: Tensor, probability: float) -> Tensor:
    """Erase one rectangle of each chosen image in place, using numpy's global random state.

    Zhong et al. 2020 (arXiv 1708.04896) as in AGW's code: a rectangle that does not fit is sampled again, and a
    rectangle must be smaller than the image in both dimensions.
    """
    height, width = pixels_BCHW.shape[2:]
    fill_C11 = pixels_BCHW.new_tensor(FILL)[:, None, None]
    for image_CHW in pixels_BCHW:
        if np.random.random() >= probability:
            continue
        for _ in range(MAX_TRIES):
            area, aspect = np.random.uniform(*AREA) * height * width, np.random.uniform(*ASPECT)
            rows, columns = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
            if rows < height and columns < width:
                top, left = np.random.randint(0, height - rows + 1), np.random.randint(0, width - columns + 1)
                image_CHW[:, top : top + rows, left : left + columns] = fill_C11
                break
    return pixels_BCHW
