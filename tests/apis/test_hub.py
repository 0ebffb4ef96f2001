import builtins

import pytest
import torch
from helpers.hub_server import hub

from segkit.apis import init_model
from segkit.apis.hub import pull_from_hub, push_to_hub

huggingface_hub = pytest.importorskip('huggingface_hub')
SMALL = {
    'model.backbone.base_channels': 8,
    'model.decode_head.in_channels': 64,
    'model.auxiliary_head.in_channels': 32,
}


@pytest.fixture(scope='module')
def endpoint():
    with hub() as address:
        yield address


def test_a_model_comes_back_as_it_was_sent(endpoint, tmp_path):
    model = init_model('pspnet_r18-d8_shapes', cfg_options=SMALL)
    url = push_to_hub(model, 'someone/shapes', token='hf_x', endpoint=endpoint)
    assert url.startswith(f'{endpoint}/someone/shapes/commit/')
    again = pull_from_hub('someone/shapes', cache_dir=tmp_path, endpoint=endpoint)
    assert again.dataset_meta['classes'] == list(model.dataset_meta['classes'])
    own = model.state_dict()
    loaded = again.state_dict()
    names = [name for name in own if name.startswith(('backbone.', 'decode_head.'))]
    assert len(names) > 100
    assert all(torch.equal(own[name], loaded[name]) for name in names)


def test_a_repository_that_is_not_there_is_named(endpoint, tmp_path):
    with pytest.raises(huggingface_hub.errors.RepositoryNotFoundError, match='someone/else'):
        pull_from_hub('someone/else', cache_dir=tmp_path, endpoint=endpoint)


def test_without_the_package_the_cure_is_named(monkeypatch):
    real = builtins.__import__

    def refuse(name, *args, **kwargs):
        if name == 'huggingface_hub':
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, '__import__', refuse)
    with pytest.raises(ImportError, match='pip install huggingface_hub'):
        pull_from_hub('someone/shapes')
