"""The page itself: gradio's components around ``predicting``, on this machine alone."""

import os
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from torch import nn

from segkit.errors import UserError

from .guard import Guard
from .predicting import USUAL, Limits, legend_html, predict, write_mask

if TYPE_CHECKING:
    from gradio import Blocks

LOCAL = '127.0.0.1'
CSS = """
.legend td, .legend th { padding: .15rem .6rem .15rem 0; border: 0 !important; text-align: left; }
.legend i { display: inline-block; width: 1rem; height: 1rem; border: 1px solid #8888; }
.legend, .legend tr { width: auto; border: 0 !important; }
footer { display: none !important; }
"""
FONTS = ['system-ui', 'sans-serif']  # of the visitor's machine
_OFF = {
    'GRADIO_ANALYTICS_ENABLED': 'False',
    'GRADIO_SHARE': 'False',
    'GRADIO_SSR_MODE': 'False',
    'HF_HUB_DISABLE_TELEMETRY': '1',
}


def serve(model: nn.Module, title: str = 'segkit', **settings: Any) -> None:
    """Serve the page until Ctrl-C.

    Args:
        model: of ``init_model``.
        settings: ``limits``, ``port`` and ``host`` of ``running``.
    """
    with running(model, title, **settings) as address:
        print(f'{title}: {address}   (Ctrl-C ends it)', flush=True)
        threading.Event().wait()


@contextmanager
def running(
    model: nn.Module,
    title: str = 'segkit',
    *,
    limits: Limits = USUAL,
    port: int | None = None,
    host: str = LOCAL,
) -> Iterator[str]:
    """The address of the page, which is served meanwhile; what was uploaded is deleted after.

    Args:
        port: a free one from 7860 on unless given.
        host: the address to listen on; this machine alone unless given.

    Raises:
        UserError: gradio is not installed, or the port is taken.
    """
    gradio = _gradio()
    with tempfile.TemporaryDirectory(prefix='segkit_page_') as folder, _surroundings(folder):
        page = build(gradio, model, title, limits, Path(folder))
        page.queue(max_size=16, default_concurrency_limit=1)
        try:
            _, local, _ = page.launch(
                server_name=host, server_port=port, share=False, prevent_thread_lock=True,
                quiet=True, inbrowser=False, show_error=True, ssr_mode=False, pwa=False,
                mcp_server=False, enable_monitoring=False, run_history=False, allowed_paths=[],
                max_file_size=int(limits.megabytes * 1e6), footer_links=[], css=CSS,
                theme=gradio.themes.Default(font=FONTS, font_mono='monospace'),
                app_kwargs=dict(middleware=_middleware(folder, host)),
            )  # fmt: skip
        except OSError as error:
            raise UserError(f'--port {port} cannot be had ({error}); give another.') from None
        try:
            yield local
        finally:
            page.close(verbose=False)


def _middleware(folder: str, host: str) -> list[object]:
    from starlette.middleware import Middleware
    from starlette.middleware.trustedhost import TrustedHostMiddleware

    guard = Middleware(Guard, uploads=folder)
    if host != LOCAL:
        return [guard]
    # A page from elsewhere whose name leads here asks under that name.
    return [Middleware(TrustedHostMiddleware, allowed_hosts=[LOCAL, 'localhost']), guard]


def build(
    gradio: ModuleType, model: nn.Module, title: str, limits: Limits, folder: Path
) -> 'Blocks':
    """The components and what they do; masks are written below ``folder``."""

    def shown(path: str | None, opacity: float, unknown_below: float) -> tuple[object, ...]:
        if path is None:
            return None, None, '', gradio.DownloadButton(interactive=False)
        try:
            result = predict(model, Path(path), limits, opacity, unknown_below)
        except (UserError, OSError) as error:
            said = str(error).replace(path, Path(path).name)
            raise gradio.Error(said, print_exception=False) from None
        place = Path(tempfile.mkdtemp(dir=folder)) / f'{Path(path).stem}_mask.png'
        button = gradio.DownloadButton(value=str(write_mask(result, place)), interactive=True)
        return result.overlay, result.confidence, legend_html(result), button

    with gradio.Blocks(title=title, analytics_enabled=False, delete_cache=(600, 3600)) as page:
        gradio.Markdown(f'# {_plain(title)}')
        with gradio.Row():
            with gradio.Column(min_width=280):
                picture = gradio.Image(
                    label='A picture', type='filepath', image_mode=None, height=320,
                    sources=['upload', 'clipboard'], buttons=[],
                )  # fmt: skip
                # Its file as it came: limits are looked at before anything decodes it.
                picture.preprocess = lambda payload: payload and payload.path
                gradio.Markdown(
                    f'Up to {limits.megabytes:g} MB and {limits.megapixels:g} million pixels. '
                    'Pictures are deleted when the server of this page ends.'
                )
            with gradio.Column(min_width=280):
                with gradio.Tab('Classes'):
                    overlay = _output(gradio, 'Classes over the picture')
                with gradio.Tab('Confidence'):
                    confidence = _output(gradio, 'White where the network is sure')
                legend = gradio.HTML()
                mask = gradio.DownloadButton('Mask (PNG, class of each pixel)', interactive=False)
                opacity = gradio.Slider(0, 1, 0.5, step=0.05, label='Opacity of the colours')
                unknown = gradio.Slider(0, 0.99, 0, step=0.01, label='Unknown below probability')
        gradio.on(
            [picture.change, opacity.release, unknown.release],
            shown,
            [picture, opacity, unknown],
            [overlay, confidence, legend, mask],
            api_visibility='private',
            show_progress_on=[overlay, confidence],
        )
    return page


def _output(gradio: ModuleType, label: str) -> object:
    return gradio.Image(
        label=label, format='png', interactive=False, buttons=['download', 'fullscreen'], height=320
    )


def _plain(text: str) -> str:
    """A text without what Markdown or HTML would read as more than text."""
    return ''.join(f'&#{ord(char)};' if char in '<>&*_`[]!#\\' else char for char in text)


@contextmanager
def _surroundings(folder: str) -> Iterator[None]:
    """Gradio's switches by environment, put back afterwards: no word to anybody, files here."""
    wanted = {**_OFF, 'GRADIO_TEMP_DIR': folder}
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name)
            else:
                os.environ[name] = value


def _gradio() -> ModuleType:
    with _surroundings(tempfile.gettempdir()):
        try:
            import gradio
        except ImportError as error:
            raise UserError(
                f'The page needs gradio ({error}): pip install "gradio>=6,<7"'
            ) from error
    return gradio
