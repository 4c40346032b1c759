"""Config to objects: the only part of the package that reads a config.

A spec `{'name': 'karras', 'n': 18}` becomes `karras(n=18)` of the module that its place in the config names. Arguments
that the run itself determines (the schedule, the model, the number of steps T of its table, the levels of the data) are
passed by name to every factory that has a parameter of that name, unless the spec sets it.
"""

from diffusion_jax.build.bits import Bits as Bits
from diffusion_jax.build.bits import build_bits as build_bits
from diffusion_jax.build.bits import build_bound as build_bound
from diffusion_jax.build.bits import build_reverse as build_reverse
from diffusion_jax.build.data import build_source as build_source
from diffusion_jax.build.data import undecoded as undecoded
from diffusion_jax.build.editing import Given as Given
from diffusion_jax.build.editing import Images as Images
from diffusion_jax.build.editing import build_edit as build_edit
from diffusion_jax.build.editing import build_edit_trace as build_edit_trace
from diffusion_jax.build.evaluation import build_features as build_features
from diffusion_jax.build.experiment import Experiment as Experiment
from diffusion_jax.build.experiment import build as build
from diffusion_jax.build.fields import check as check
from diffusion_jax.build.fields import override as override
from diffusion_jax.build.fields import resolve as resolve
from diffusion_jax.build.fields import unknown_field as unknown_field
from diffusion_jax.build.guidance import WithWeak as WithWeak
from diffusion_jax.build.guidance import check_weak as check_weak
from diffusion_jax.build.optimiser import build_optimiser as build_optimiser
from diffusion_jax.build.sampling import build_draw as build_draw
from diffusion_jax.build.sampling import build_sampling as build_sampling
from diffusion_jax.build.sampling import build_trace as build_trace
from diffusion_jax.build.teacher import with_teacher as with_teacher
