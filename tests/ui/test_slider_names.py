"""The handles of sliders have names, in the output that holds them and nowhere else."""

from pathlib import Path

from playwright.sync_api import Browser

from workshop_utils.widgets import slider_names

CODE = Path(slider_names.__file__).with_suffix(".js")
SLIDER = '<div class="widget-slider"><label>{}</label><div role="slider" tabindex="0"></div></div>'
PAGE = (
    f'<div class="jp-OutputArea" id="ours">{SLIDER.format("Tokens (log)")}<div id="names"></div></div>'
    f'<div class="jp-OutputArea" id="other">{SLIDER.format("Other")}</div>'
)
RUN = """
async code => {
  const { default: widget } = await import('data:text/javascript,' + encodeURIComponent(code));
  const end = widget.render({ el: document.getElementById('names') });
  const frame = () => new Promise(requestAnimationFrame);
  const names = id => [...document.querySelectorAll(`#${id} [role=slider]`)].map(each => each.ariaLabel);
  const ours = document.getElementById('ours');
  await frame(); await frame();
  const first = [names('ours'), names('other')];
  const added = document.querySelector('.widget-slider').cloneNode(true);
  added.querySelector('[role=slider]').removeAttribute('aria-label');
  ours.append(added);
  await frame();
  const later = names('ours');
  end();
  return [...first, later];
}
"""


def test_each_handle_is_called_as_its_label_says(browser: Browser) -> None:
    code = CODE.read_text(encoding="utf-8")
    page = browser.new_page()
    page.set_content(PAGE)
    ours, other, later = page.evaluate(RUN, code)
    page.close()
    assert (ours, other) == (["Tokens (log)"], [None])
    assert later == ["Tokens (log)"] * 2
