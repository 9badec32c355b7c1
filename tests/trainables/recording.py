"""A device that a training takes for a GPU: it computes on the CPU and records the calls."""

import torch

from trainables.device import Device

STEPS_UNTIL_OVER = 10  # what was launched that many steps ago has finished


class RecordingDevice(Device):
    """Records copies and waits in the order in which they happen.

    Attributes:
        events: "upload", "download", "read" (of a download that a GPU would have finished long ago), "wait" (for
            anything else), and "step", which the test adds.
    """

    is_gpu = True
    has_bfloat16 = True

    def __init__(self):
        self.torch_device = torch.device("cpu")
        self.events = []

    def allocate(self, shape, dtype=torch.uint8):
        return torch.empty(shape, dtype=dtype)

    def upload(self, tensor):
        self.events.append("upload")
        return tensor.clone()  # as on a GPU, what is written to the host's memory later does not arrive

    def download(self, tensor):
        self.events.append("download")
        return super().download(tensor)

    def completion(self):
        launched_before = self.events.count("step")

        def wait():
            is_over = self.events.count("step") >= launched_before + STEPS_UNTIL_OVER
            self.events.append("read" if is_over else "wait")

        return wait

    def synchronize(self):
        self.events.append("wait")

    def random_state(self):
        return None

    def between_steps(self):
        """The events after the first step and before the last."""
        steps = [number for number, event in enumerate(self.events) if event == "step"]
        return self.events[steps[0] : steps[-1]]

    forget_peak = release_memory = lambda self: None
    allocated_bytes = peak_bytes = peak_reserved_bytes = free_bytes = total_bytes = lambda self: 10**9
