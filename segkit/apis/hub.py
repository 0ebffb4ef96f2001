"""Sharing models through the Hugging Face hub: one self-describing safetensors file a repository.

Needs the optional huggingface_hub. What comes back is data: weights, classes and a config in JSON.
"""

from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType

from torch import nn

FILE = 'model.safetensors'


def push_to_hub(
    model: nn.Module,
    repo_id: str,
    *,
    token: str | None = None,
    private: bool = False,
    message: str = 'Upload a segkit model',
    endpoint: str | None = None,
) -> str:
    """Upload ``model`` (of ``init_model``) to ``repo_id`` ('user/name'), made if it is not there.

    Returns:
        The URL of the commit.

    Raises:
        ImportError: huggingface_hub is missing. HfHubHTTPError: the hub refused; it says why.
    """
    from segkit.apis.export import export_model

    api = _huggingface_hub().HfApi(endpoint=endpoint, token=token)
    with TemporaryDirectory() as folder:
        path = Path(folder) / FILE
        export_model(model, path, 'safetensors', (64, 64))
        api.create_repo(repo_id, private=private, exist_ok=True)
        commit = api.upload_file(
            path_or_fileobj=path, path_in_repo=FILE, repo_id=repo_id, commit_message=message
        )
    return str(commit.commit_url)


def pull_from_hub(
    repo_id: str,
    *,
    revision: str | None = None,
    token: str | None = None,
    cache_dir: str | Path | None = None,
    endpoint: str | None = None,
) -> nn.Module:
    """The model of ``push_to_hub``, downloaded once and kept in the hub's own cache.

    Raises:
        ImportError: huggingface_hub is missing. RepositoryNotFoundError, EntryNotFoundError: no
            such repository, or one without the file. CheckpointError: the file has no config.
    """
    from segkit.apis.export.safetensors_file import model_of

    path = _huggingface_hub().hf_hub_download(
        repo_id, FILE, revision=revision, token=token, cache_dir=cache_dir, endpoint=endpoint
    )
    return model_of(path)[0]


def _huggingface_hub() -> ModuleType:
    try:
        import huggingface_hub
    except ImportError as error:
        raise ImportError('The model hub needs `pip install huggingface_hub`.') from error
    return huggingface_hub
