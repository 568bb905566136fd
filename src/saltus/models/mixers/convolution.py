"""A baseline that sees a fixed window."""

from torch import Tensor, nn

from saltus.models.mixers.depthwise import Depthwise
from saltus.specs import ConvolutionSpec


class Convolution(nn.Module):
    """Causal depthwise convolution between two projections: attention whose pattern is one window for all tokens."""

    def __init__(self, spec: ConvolutionSpec, length: int) -> None:
        super().__init__()
        self.value = nn.Linear(spec.d_model, spec.d_model)
        self.mixing = Depthwise(spec.d_model, spec.conv_width, bias=False)
        self.output = nn.Linear(spec.d_model, spec.d_model)

    def forward(self, x: Tensor) -> Tensor:
        """[n, q, m] -> [n, q, m]; it works at any length."""
        return self.output(self.mixing(self.value(x)))
