# To be sourced: a Python with the packages that a script wants, in a folder of its own under target/.

# python_with REQUIREMENTS NAME [--offline]: sets $python, or exits with 69 and a line that says why not.
python_with() {
    local requirements=$1 name=$2 top environment
    top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
    environment=$top/target/python/$name
    python=$environment/bin/python
    case ${3:-} in
    "" | --offline) ;;
    *)
        echo "$0: unknown argument $3; usage: $0 [--offline]" >&2
        exit 64
        ;;
    esac
    if [ -e "$environment/ready" ] && cmp -s "$requirements" "$environment/ready"; then
        return
    fi
    if [ "${3:-}" = --offline ]; then
        echo "the Python packages are not installed; to install them: $0"
        exit 69
    fi
    if ! { python3 -m venv "$environment" && "$python" -m pip install --quiet --disable-pip-version-check -r "$requirements"; } >&2; then
        echo "the Python packages cannot be installed; see above"
        exit 69
    fi
    cp "$requirements" "$environment/ready"
}
