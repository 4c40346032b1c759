"""Config to objects: the only part of the package that reads a config.

A spec `{'name': 'karras', 'n': 18}` becomes `karras(n=18)` of the module that its place in the config names, or of any
other where the name has dots. What the run itself determines (the schedule, the model, the number of steps T of its
table, the levels of the data) is passed by name to every factory that has a parameter of that name: no spec can set it.
Of a few more (`sigma_data`, `sigma_min`, `sigma_max`, the training's `steps`) the run's is the default.
"""

from diffusion_jax.builders.asked import build_asked as build_asked
from diffusion_jax.builders.bits import Bits as Bits
from diffusion_jax.builders.bits import build_bits as build_bits
from diffusion_jax.builders.bits import build_bound as build_bound
from diffusion_jax.builders.bits import build_reverse as build_reverse
from diffusion_jax.builders.data import build_source as build_source
from diffusion_jax.builders.data import check_splits as check_splits
from diffusion_jax.builders.data import undecoded as undecoded
from diffusion_jax.builders.editing import Given as Given
from diffusion_jax.builders.editing import Images as Images
from diffusion_jax.builders.editing import build_edit as build_edit
from diffusion_jax.builders.editing import build_edit_find_non_finite as build_edit_find_non_finite
from diffusion_jax.builders.evaluation import build_features as build_features
from diffusion_jax.builders.evaluation import build_features_of_shape as build_features_of_shape
from diffusion_jax.builders.experiment import Experiment as Experiment
from diffusion_jax.builders.experiment import build as build
from diffusion_jax.builders.fields import override as override
from diffusion_jax.builders.fields import resolve as resolve
from diffusion_jax.builders.fields import unknown_field as unknown_field
from diffusion_jax.builders.guidance import Other as Other
from diffusion_jax.builders.guidance import WithOther as WithOther
from diffusion_jax.builders.guidance import take as take
from diffusion_jax.builders.guidance import taken_by as taken_by
from diffusion_jax.builders.models import Context as Context
from diffusion_jax.builders.optimiser import build_optimiser as build_optimiser
from diffusion_jax.builders.parallel import build_parallel as build_parallel
from diffusion_jax.builders.records import check as check
from diffusion_jax.builders.sampling import States as States
from diffusion_jax.builders.sampling import build_draw as build_draw
from diffusion_jax.builders.sampling import build_find_non_finite as build_find_non_finite
from diffusion_jax.builders.sampling import build_sampling as build_sampling
from diffusion_jax.builders.sampling import build_states as build_states
from diffusion_jax.builders.teacher import with_teacher as with_teacher
