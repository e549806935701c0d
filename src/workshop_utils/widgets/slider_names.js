// ipywidgets leaves the handle of a slider without a name for a screen reader; its label says what it is of.
export function nameSliders(root) {
  for (const slider of root.querySelectorAll('.widget-slider, .jupyter-widget-slider')) {
    const label = slider.querySelector('label');
    for (const handle of slider.querySelectorAll('[role="slider"]')) {
      if (label) handle.setAttribute('aria-label', label.textContent);
    }
  }
}

function render({ el }) {
  el.style.display = 'none';
  let observer;
  // What is rendered stands in no page yet.
  const frame = requestAnimationFrame(() => {
    const root = el.closest('.jp-OutputArea') ?? document.body;
    observer = new MutationObserver(() => nameSliders(root));
    observer.observe(root, { childList: true, subtree: true });
    nameSliders(root);
  });
  return () => {
    cancelAnimationFrame(frame);
    observer?.disconnect();
  };
}

export default { render };
