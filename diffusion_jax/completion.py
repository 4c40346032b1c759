"""Completion of `diffusion-jax` on the command line, for bash, zsh and fish.

    eval "$(diffusion-jax completion bash)"       # in ~/.bashrc
    eval "$(diffusion-jax completion zsh)"        # in ~/.zshrc, below compinit
    diffusion-jax completion fish | source        # in ~/.config/fish/config.fish

prints a script that asks `diffusion-jax completion --line=LINE` for what may follow. Flags are read out of the sources,
for importing a command takes seconds.
"""

import ast
import sys
from pathlib import Path

from diffusion_jax import shipped
from diffusion_jax.commands import ALL, Command
from diffusion_jax.errors import UserError, nearest

# What bash completes begins after a `=` (it splits words there); with nothing to offer, files are.
_BASH = """_diffusion_jax() {
    local IFS=$'\\n' line="${COMP_LINE:0:COMP_POINT}"
    COMPREPLY=($(diffusion-jax completion --line="$line" 2>/dev/null))
    if [[ ${line##*[[:space:]]} == *=* ]]; then COMPREPLY=("${COMPREPLY[@]#*=}"); fi
    if [[ ${COMPREPLY[0]} == *= ]]; then compopt -o nospace; fi
}
complete -o bashdefault -o default -F _diffusion_jax diffusion-jax"""
_ZSH = """_diffusion_jax() {
    local -a found
    found=(${(f)"$(diffusion-jax completion --line="${(j: :)words[1,CURRENT]}" 2>/dev/null)"})
    if (( ! $#found )); then
        compset -P '*='
        _files
    elif [[ $found[1] == *= ]]; then
        compadd -S '' -- $found
    else
        compadd -- $found
    fi
}
compdef _diffusion_jax diffusion-jax"""
_FISH = """function _diffusion_jax
    diffusion-jax completion --line=(commandline --cut-at-cursor | string collect) 2>/dev/null
end
complete --command diffusion-jax --arguments '(_diffusion_jax)'"""
SCRIPTS = {'bash': _BASH, 'zsh': _ZSH, 'fish': _FISH}
_OF_ALL = ('--help', '--version')


def source(module: str) -> Path:
    """The file of a command."""
    package, *parts = module.split('.')
    above = Path(__file__).parents[1] if package == 'diffusion_jax' else shipped.root()
    path = above.joinpath(package, *parts)
    return path / '__main__.py' if path.is_dir() else path.with_suffix('.py')


def flags(module: str) -> list[str]:
    """The flags that a command defines, as `--name=`, and those without a value as `--name`."""
    found = []
    for node in ast.walk(ast.parse(source(module).read_text(encoding='utf-8'))):
        match node:
            case ast.Call(func=ast.Attribute(attr='DEFINE_bool'), args=[ast.Constant(value=str(name)), *_]):
                found.append(f'--{name}')
            case ast.Call(func=ast.Attribute(attr=define), args=[ast.Constant(value=str(name)), *_]):
                found += [f'--{name}='] if define.startswith('DEFINE_') else []
    return sorted(found)


def candidates(line: str) -> list[str]:
    """What the last word of a line that begins with `diffusion-jax` may become."""
    words = line.split()
    current = '' if line[-1:].isspace() else words.pop()
    if len(words) < 2:
        known = [*ALL, *_OF_ALL]
    elif (command := ALL.get(words[1].replace('_', '-'))) is None:
        return []
    elif current.partition('=')[0].endswith('config') and '=' in current:
        known = [f'{current.partition("=")[0]}={name}' for name in shipped.config_names()]
    else:
        known = _after(command)
    return [word for word in known if word.startswith(current)]


def _after(command: Command) -> list[str]:
    if command.name == 'completion':
        return [*SCRIPTS]
    given = [*flags(command.module), '--help']
    tables = sorted(path.parent.name for path in source(command.module).parent.glob('*/paper.py'))
    return [*tables, *given] if command.name == 'papers' else given


def script(shell: str) -> str:
    """What the shell is to run.

    Raises:
        UserError: for another shell.
    """
    if shell not in SCRIPTS:
        raise UserError(f'no completion for {shell!r}; {nearest(shell, SCRIPTS)}')
    return SCRIPTS[shell]


def main(argv: list[str]) -> int:
    """Prints the script of a shell, or what a line may become."""
    try:
        match argv:
            case [line] if line.startswith('--line='):
                found = candidates(line.removeprefix('--line='))
                print('\n'.join(found), end='\n' if found else '')
            case [shell] if not shell.startswith('-'):
                print(script(shell))
            case _:
                print((__doc__ or '').strip())
    except UserError as error:
        print(f'error: {error}', file=sys.stderr)
        return 2
    return 0


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
