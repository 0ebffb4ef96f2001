"""DAHead against its written-out attentions, in float64; its three losses and its two modes."""

import pytest
import torch
from helpers.heads import SMALL, check_head, random_labels, samples_of, with_random_state
from helpers.operations import Operations

from segkit.models.decode_heads import DAHead, pixel_attention
from segkit.models.decode_heads.da_head import CAM

META = {'img_shape': (48, 56)}
CHUNKED = pixel_attention.pixel_attention


def position(pam, x):
    q, k, v = (p(x).flatten(2) for p in (pam.query_project, pam.key_project, pam.value_project))
    weights = torch.einsum('ndi,ndj->nij', q, k).softmax(dim=2)
    return pam.gamma.scale * torch.einsum('nij,ncj->nci', weights, v).reshape(x.shape) + x


def channel(cam, x):
    flat = x.flatten(2)
    energy = torch.einsum('ncl,nkl->nck', flat, flat)
    weights = (-energy).softmax(dim=2)  # softmax(max - e), whose shift cancels
    return cam.gamma.scale * torch.einsum('nck,nkl->ncl', weights, flat).reshape(x.shape) + x


def branches(head, x):
    pam = head.pam_out_conv(position(head.pam, head.pam_in_conv(x)))
    cam = head.cam_out_conv(channel(head.cam, head.cam_in_conv(x)))
    return pam, cam


def written(head, x):
    pam, cam = branches(head, x)
    return head.conv_seg(pam + cam), head.pam_conv_seg(pam), head.cam_conv_seg(cam)


@pytest.mark.parametrize('align_corners', [False, True])
@pytest.mark.parametrize('chunk', [256, 7], ids=['one chunk', 'chunks with a rest'])
def test_matches_the_written_out_head(chunk, align_corners, monkeypatch):
    monkeypatch.setattr(pixel_attention, 'CHUNK', chunk)
    check_head(DAHead, written, pam_channels=4, align_corners=align_corners)


def test_testing_evaluates_only_the_fused_classifier():
    head = with_random_state(DAHead(pam_channels=4, **SMALL)).eval()
    calls = []
    for name in ('pam_conv_seg', 'cam_conv_seg'):
        getattr(head, name).register_forward_hook(lambda *args: calls.append(1))
    x = torch.randn(2, 16, 6, 7)
    logits = head.predict([x], [META])
    assert logits.shape == (2, 5, 48, 56)
    assert not calls
    torch.testing.assert_close(head([x]), head.forward_all([x])[0])
    assert len(calls) == 2


def test_three_losses_in_training():
    head = DAHead(pam_channels=4, **SMALL)
    outputs = head([torch.randn(2, 16, 6, 7)])
    assert [tuple(out.shape) for out in outputs] == [(2, 5, 6, 7)] * 3
    losses = head.loss([torch.randn(2, 16, 6, 7)], samples_of(random_labels(2, (48, 56))))
    names = [
        f'{part}.{key}' for part in ('pam_cam', 'pam', 'cam') for key in ('loss_ce', 'acc_seg')
    ]
    assert list(losses) == names


def test_the_fused_logits_alone_have_the_fused_loss():
    """They are what the head gives in evaluation mode."""
    torch.manual_seed(0)
    head = with_random_state(DAHead(pam_channels=4, **SMALL)).eval()
    x, samples = torch.randn(2, 16, 6, 7), samples_of(random_labels(2, (48, 56)))
    losses = head.loss_by_feat(head([x]), samples)
    assert list(losses) == ['pam_cam.loss_ce', 'pam_cam.acc_seg']
    whole = head.loss([x], samples)
    assert all(torch.equal(value, whole[name]) for name, value in losses.items())


def test_dropout_stands_before_each_of_the_three_classifiers():
    head = with_random_state(DAHead(pam_channels=4, dropout_ratio=1, **SMALL))
    outputs = head([torch.randn(2, 16, 6, 7)])
    classifiers = head.conv_seg, head.pam_conv_seg, head.cam_conv_seg
    for out, classifier in zip(outputs, classifiers, strict=True):
        assert torch.equal(out, classifier.bias.view(1, -1, 1, 1).expand_as(out))


def test_both_attentions_start_as_the_identity():
    head = DAHead(pam_channels=4, **SMALL)
    x = torch.randn(1, 8, 5, 5)
    assert torch.equal(head.pam(x), x)
    assert torch.equal(head.cam(x), x)


@pytest.mark.parametrize('training', [True, False], ids=['training', 'testing'])
def test_what_is_compiled_is_what_runs(training):
    """``compile`` replaces ``forward`` of each part of a network."""
    torch.manual_seed(0)
    head = with_random_state(DAHead(pam_channels=4, dropout_ratio=0, **SMALL)).train(training)
    x, samples = torch.randn(2, 16, 6, 7), samples_of(random_labels(2, (48, 56)))

    def results():
        return head.loss([x], samples) if training else {'': head.predict([x], [META])}

    want, steps = results(), []

    def backend(graph, inputs):
        steps.append(graph)
        return graph.forward

    torch._dynamo.reset()
    head.forward = torch.compile(head.forward, backend=backend)
    got = results()
    assert steps
    assert list(got) == list(want)
    for name, value in want.items():
        torch.testing.assert_close(got[name], value)


class OnGPU(torch.Tensor):
    """Says so, and computes on the CPU."""

    is_cuda = True


def test_a_fused_kernel_gets_the_channels_of_a_pixel_side_by_side(monkeypatch):
    def side_by_side(params):
        tensors = (params.query, params.key, params.value)
        return all(t.stride(-1) == 1 for t in tensors)

    monkeypatch.setattr(torch.backends.cuda, 'can_use_efficient_attention', side_by_side)
    monkeypatch.delattr(pixel_attention, '_ChunkedAttention')
    tensors = [torch.randn(2, c, 30) for c in (8, 8, 16)]
    got = CHUNKED(*(t.as_subclass(OnGPU) for t in tensors))
    torch.testing.assert_close(got.as_subclass(torch.Tensor), exact_attention(*tensors))


def test_the_layout_of_a_map_outlives_the_position_attention(monkeypatch):
    def channels_last(query, key, value):
        return CHUNKED(query, key, value).transpose(1, 2).contiguous().transpose(1, 2)

    monkeypatch.setattr('segkit.models.decode_heads.da_head.pixel_attention', channels_last)
    pam = DAHead(pam_channels=4, **SMALL).pam
    x = torch.randn(2, 8, 5, 6)
    assert pam(x).is_contiguous()
    assert pam(x.to(memory_format=torch.channels_last)).is_contiguous(
        memory_format=torch.channels_last
    )


def exact_attention(q, k, v):
    weights = torch.einsum('ndi,ndj->nij', q, k).softmax(dim=2)
    return torch.einsum('nij,ncj->nci', weights, v)


def test_chunked_attention_agrees_with_float64():
    torch.manual_seed(0)
    tensors = [torch.randn(2, c, 700) for c in (8, 8, 16)]
    got_in = [t.clone().requires_grad_() for t in tensors]
    want_in = [t.double().requires_grad_() for t in tensors]
    got, want = CHUNKED(*got_in), exact_attention(*want_in)
    upstream = torch.randn_like(got)
    got.backward(upstream)
    want.backward(upstream.double())
    pairs = [(got, want), *((g.grad, w.grad) for g, w in zip(got_in, want_in))]
    for a, b in pairs:
        assert (a.double() - b).abs().max() <= 1e-5 * b.abs().max()


def test_chunked_attention_passes_gradcheck(monkeypatch):
    monkeypatch.setattr(pixel_attention, 'CHUNK', 3)
    tensors = [torch.randn(2, c, 7, dtype=torch.float64, requires_grad=True) for c in (2, 2, 3)]
    assert torch.autograd.gradcheck(CHUNKED, tensors)


@pytest.mark.parametrize('n', [1, 2])
def test_a_device_without_a_fused_kernel_is_sent_few_operations(n):
    """At 97x97; a CPU takes 37 chunks of ten and more operations."""
    shapes = (n, 64, 97 * 97), (n, 64, 97 * 97), (n, 512, 97 * 97)
    tensors = [torch.empty(shape, device='meta') for shape in shapes]
    with Operations() as forward:
        out, logs = pixel_attention._forward_chunks(*tensors)
    assert forward.issued['bmm'] in (2, 4)
    assert forward.issued.total() <= 40
    saved = type('Saved', (), {'saved_tensors': (*tensors, out, logs)})
    with Operations() as backward:
        grads = pixel_attention._ChunkedAttention.backward(saved, out)
    assert [g.shape for g in grads] == [t.shape for t in tensors]
    assert backward.issued['bmm'] >= 5
    assert backward.issued.total() <= 60


def test_large_scores_do_not_overflow():
    q, k, v = (100 * torch.randn(1, 4, 300) for _ in range(3))
    got = CHUNKED(q, k, v)
    assert (got.double() - exact_attention(q.double(), k.double(), v.double())).abs().max() < 1e-2


def test_half_precision_errs_no_more_than_the_written_out_form():
    torch.manual_seed(0)
    q, k, v = (torch.randn(1, c, 300) for c in (8, 8, 16))
    want = exact_attention(q.double(), k.double(), v.double())
    q, k, v = (t.bfloat16() for t in (q, k, v))
    own = (CHUNKED(q, k, v).double() - want).abs().max()
    written_out = (exact_attention(q, k, v).double() - want).abs().max()
    assert own <= 1.2 * written_out


def test_channel_attention_in_half_precision_keeps_its_energies():
    """On a large map bfloat16 energies would be off by more than the differences between them."""
    torch.manual_seed(0)
    cam = CAM()
    cam.gamma.scale.data.fill_(1)
    base = torch.rand(1, 1, 64, 64)
    x = (base + 0.02 * torch.randn(1, 6, 64, 64)).bfloat16()
    want = channel(cam, x.double())
    with torch.autocast('cpu', torch.bfloat16):
        got = cam(x)
    assert (got.double() - want).abs().max() < 0.02 * want.abs().max()


def test_exports_with_any_number_of_pixels():
    class Module(torch.nn.Module):
        def forward(self, q, k, v):
            return CHUNKED(q, k, v)

    length = torch.export.Dim('length', min=4, max=4096)
    tensors = tuple(torch.randn(1, c, 600) for c in (4, 4, 8))
    program = torch.export.export(Module(), tensors, dynamic_shapes=[{2: length}] * 3)
    other = tuple(torch.randn(1, c, 10) for c in (4, 4, 8))
    torch.testing.assert_close(program.module()(*other), exact_attention(*other))
