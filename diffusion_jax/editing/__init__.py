"""Zero-shot editing: all of it acts on x_0 predictions, the grid or latents, and so works with every sampler."""

from diffusion_jax.editing.infill import given as given
from diffusion_jax.editing.infill import infill as infill
from diffusion_jax.editing.interpolate import slerp as slerp
from diffusion_jax.editing.invert import interpolate as interpolate
from diffusion_jax.editing.invert import transfer as transfer
from diffusion_jax.editing.operators import Operator as Operator
from diffusion_jax.editing.operators import colourise as colourise
from diffusion_jax.editing.operators import inpaint as inpaint
from diffusion_jax.editing.operators import super_resolve as super_resolve
from diffusion_jax.editing.project import consistent as consistent
from diffusion_jax.editing.project import project as project
from diffusion_jax.editing.project import restore as restore
from diffusion_jax.editing.sdedit import part_below as part_below
from diffusion_jax.editing.sdedit import sdedit as sdedit
from diffusion_jax.editing.travel import time_travel as time_travel
from diffusion_jax.editing.travel import travels as travels
