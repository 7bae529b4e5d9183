# What `conda run` and an interactive `conda activate` source. The conda that conda-lock carries
# comes without it; the activation itself is worked out by conda.
__conda_exe() (
    "$CONDA_EXE" $_CE_M $_CE_CONDA "$@"
)

__conda_activate() {
    local commands
    commands="$(PS1="${PS1:-}" __conda_exe shell.posix "$@")" || return
    eval "$commands"
    hash -r
}

conda() {
    case "${1:-}" in
        activate | deactivate)
            __conda_activate "$@"
            ;;
        install | update | upgrade | remove | uninstall)
            __conda_exe "$@" || return
            if [ -n "${CONDA_PREFIX:-}" ]; then
                __conda_activate reactivate
            fi
            ;;
        *)
            __conda_exe "$@"
            ;;
    esac
}

if [ -z "${CONDA_SHLVL:-}" ]; then
    export CONDA_SHLVL=0
    export PATH="$(dirname "$(dirname "$CONDA_EXE")")/condabin:$PATH"
fi
